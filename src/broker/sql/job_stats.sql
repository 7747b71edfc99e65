-- Attempts that ended within the last minute, hour and day, per queue and kind, with their histograms. What was said is
-- opened once, within the shortest of the three in which its middle is; the longer ones are added up from the shorter.
WITH during (name, seconds) AS (
    VALUES ('1m', 60), ('1h', 3600), ('1d', 86400)
), said AS MATERIALIZED (
    SELECT CASE WHEN m.at > now() - interval '1 min' THEN 60 WHEN m.at > now() - interval '1 hour' THEN 3600
                ELSE 86400 END AS seconds, s.*
      FROM workerctl.run_stats s CROSS JOIN LATERAL (SELECT s.at + make_interval(secs => s.span / 2.0) AS at) m
     WHERE m.at > now() - interval '1 day'
), bucket AS (
    SELECT s.seconds, s.queue, s.kind, true AS of_waits, b.key, sum(b.value::bigint) AS jobs
      FROM said s CROSS JOIN LATERAL jsonb_each_text(s.waits) b GROUP BY s.seconds, s.queue, s.kind, b.key
    UNION ALL
    SELECT s.seconds, s.queue, s.kind, false, b.key, sum(b.value::bigint)
      FROM said s CROSS JOIN LATERAL jsonb_each_text(s.runs) b GROUP BY s.seconds, s.queue, s.kind, b.key
), added AS (
    SELECT d.name, b.queue, b.kind, b.of_waits, b.key, sum(b.jobs)::bigint AS jobs
      FROM during d JOIN bucket b ON b.seconds <= d.seconds GROUP BY d.name, b.queue, b.kind, b.of_waits, b.key
), histogram AS (
    SELECT a.name AS during, a.queue, a.kind, jsonb_object_agg(a.key, a.jobs) FILTER (WHERE a.of_waits) AS waits,
           jsonb_object_agg(a.key, a.jobs) FILTER (WHERE NOT a.of_waits) AS runs
      FROM added a GROUP BY a.name, a.queue, a.kind
), counted AS (
    SELECT d.name AS during, d.seconds, s.queue, s.kind, sum(s.succeeded)::bigint AS succeeded,
           sum(s.failed)::bigint AS failed, sum(s.dead)::bigint AS dead, sum(s.cancelled)::bigint AS cancelled
      FROM during d JOIN said s ON s.seconds <= d.seconds GROUP BY d.name, d.seconds, s.queue, s.kind
)
SELECT c.*, h.waits, h.runs
  FROM counted c LEFT JOIN histogram h USING (during, queue, kind)
 ORDER BY c.queue, c.kind, c.seconds
