-- Attempts that ended within the last minute, hour and day, per queue and kind, with their histograms.
WITH span AS (
    SELECT w.name AS during, w.seconds, s.*
      FROM (VALUES ('1m', 60), ('1h', 3600), ('1d', 86400)) AS w(name, seconds)
      JOIN workerctl.run_stats s ON s.at > now() - make_interval(secs => w.seconds)
), bucket AS (
    SELECT s.during, s.queue, s.kind, b.of_waits, b.key, sum(b.value::bigint)::bigint AS jobs
      FROM span s
     CROSS JOIN LATERAL (SELECT true AS of_waits, w.* FROM jsonb_each_text(s.waits) w
                         UNION ALL SELECT false, r.* FROM jsonb_each_text(s.runs) r) b
     GROUP BY s.during, s.queue, s.kind, b.of_waits, b.key
), histogram AS (
    SELECT b.during, b.queue, b.kind, jsonb_object_agg(b.key, b.jobs) FILTER (WHERE b.of_waits) AS waits,
           jsonb_object_agg(b.key, b.jobs) FILTER (WHERE NOT b.of_waits) AS runs
      FROM bucket b GROUP BY b.during, b.queue, b.kind
), counted AS (
    SELECT s.during, s.queue, s.kind, s.seconds, sum(s.succeeded)::bigint AS succeeded, sum(s.failed)::bigint AS failed,
           sum(s.dead)::bigint AS dead, sum(s.cancelled)::bigint AS cancelled
      FROM span s GROUP BY s.during, s.queue, s.kind, s.seconds
)
SELECT c.*, h.waits, h.runs
  FROM counted c LEFT JOIN histogram h USING (during, queue, kind)
 ORDER BY c.queue, c.kind, c.seconds
