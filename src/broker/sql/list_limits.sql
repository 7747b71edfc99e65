-- Limits by kind, limits by key with each key in use, and rates, with what is used of each.
WITH seated AS (
    SELECT k.name, k.key, count(*) AS jobs
      FROM workerctl.live l CROSS JOIN unnest(l.limit_names, l.limit_keys) AS k(name, key)
     WHERE l.worker_id IS NOT NULL GROUP BY k.name, k.key
), waiting AS (
    SELECT (SELECT l.limit_names[array_position(l.limit_keys, h.key)] FROM workerctl.live l WHERE l.id = h.some_job) AS name,
           h.key, h.jobs
      FROM (SELECT h.key, max(h.job_id) AS some_job, count(*) AS jobs FROM workerctl.hold h GROUP BY h.key) h
), in_use AS (
    SELECT name, key, coalesce(s.jobs, 0) AS used, coalesce(w.jobs, 0) AS held
      FROM seated s FULL JOIN waiting w USING (name, key)
)
SELECT m.name, CASE WHEN m.name LIKE '%%{%%' THEN u.key ELSE m.name END AS key, m.most, m.configured,
       NULL::double precision AS period_seconds, coalesce(u.used, workerctl.seats_taken(m.name)) AS used, coalesce(u.held, 0) AS held
  FROM workerctl.limits m
  LEFT JOIN in_use u ON u.name = m.name
UNION ALL
SELECT r.name, coalesce(u.key, r.name), r.most, r.most, extract(epoch FROM r.period)::double precision, coalesce(u.starts, 0), coalesce(w.jobs, 0)
  FROM workerctl.rates r
  LEFT JOIN LATERAL (  -- of a key's rate each key that began something, by what its template leaves open
       SELECT s.key, count(*) AS starts FROM workerctl.start s
        WHERE s.at > now() - r.period
          AND s.key ~ ('^' || regexp_replace(regexp_replace(r.name, '[]^$.*+?()|\\[]', '\\\&', 'g'), '\{[^{}]+\}', '.*', 'g') || '$')
        GROUP BY s.key) u ON true
  LEFT JOIN waiting w ON w.name = r.name AND w.key = u.key
 ORDER BY 1, 2
