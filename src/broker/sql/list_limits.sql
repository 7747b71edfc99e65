-- Limits by kind, limits by key with each key in use, and rates, with what is used of each.
SELECT m.name, m.name AS key, m.most, m.configured, NULL::double precision AS period_seconds,
       workerctl.seats_taken(m.name) AS used, 0::bigint AS held
  FROM workerctl.limits m WHERE m.name NOT LIKE '%%{%%'
UNION ALL
SELECT m.name, u.key, m.most, m.configured, NULL, coalesce(u.used, 0), coalesce(u.held, 0)
  FROM workerctl.limits m
  LEFT JOIN LATERAL (
       SELECT k.key, count(*) FILTER (WHERE l.status = 'running') AS used, count(*) FILTER (WHERE l.held) AS held
         FROM workerctl.live l, unnest(l.limit_names, l.limit_keys) AS k(name, key)
        WHERE k.name = m.name AND (l.status = 'running' OR l.held)
        GROUP BY k.key) u ON true
 WHERE m.name LIKE '%%{%%'
UNION ALL
SELECT r.name, r.name, r.most, r.most, extract(epoch FROM r.period)::double precision,
       (SELECT count(*) FROM workerctl.start s WHERE s.key = r.name AND s.at > now() - r.period), 0
  FROM workerctl.rates r
 ORDER BY 1, 2
