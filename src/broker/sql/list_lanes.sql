-- Every lane, per queue and kind, with how much waits and runs in it; what is over 5,000, or 50,000 in all, is guessed. Of what
-- is held for want of a seat 20,000 are looked at, and more are guessed.
WITH running AS (
    SELECT l.lane_id, count(*) AS jobs FROM workerctl.live l WHERE l.worker_id IS NOT NULL GROUP BY l.lane_id
), parent AS (
    SELECT p.lane_id, count(*) AS jobs
      FROM (WITH RECURSIVE step AS (
                (SELECT c.parent_id FROM workerctl.live c WHERE c.parent_id IS NOT NULL ORDER BY c.parent_id LIMIT 1)
                UNION ALL
                SELECT (SELECT c.parent_id FROM workerctl.live c WHERE c.parent_id > s.parent_id ORDER BY c.parent_id LIMIT 1)
                  FROM step s WHERE s.parent_id IS NOT NULL
            ) SELECT s.parent_id FROM step s WHERE s.parent_id IS NOT NULL LIMIT 10000) f
      JOIN workerctl.live p ON p.id = f.parent_id
     GROUP BY p.lane_id
), all_held AS MATERIALIZED (
    SELECT greatest(1, workerctl.about_rows('SELECT FROM workerctl.hold', 20000) / 20000.0) AS times  -- what is looked at
), held AS (
    SELECT l.lane_id, count(*) * (SELECT times FROM all_held) AS jobs, count(*) FILTER (WHERE l.failures > 0) AS retries,
           min(l.run_at) AS oldest_due_at
      FROM (SELECT h.job_id FROM workerctl.hold h LIMIT 20000) h JOIN workerctl.live l ON l.id = h.job_id AND l.held
     GROUP BY l.lane_id
)
SELECT a.queue, a.kind, bool_or(a.paused) AS paused, sum(d.pending + coalesce(h.jobs, 0))::bigint AS pending,
       bool_or(d.guessed OR h.jobs IS NOT NULL AND t.times > 1) AS guessed, sum(d.later)::bigint AS later,
       sum(d.retries + coalesce(h.retries, 0))::bigint AS retries, sum(coalesce(h.jobs, 0))::bigint AS held,
       coalesce(sum(r.jobs), 0)::bigint AS running, coalesce(sum(p.jobs), 0)::bigint AS waiting,
       extract(epoch FROM now() - min(least(d.oldest_due_at, h.oldest_due_at)))::double precision AS oldest_due_seconds
  FROM workerctl.lane a
 CROSS JOIN all_held t
 CROSS JOIN LATERAL workerctl.lane_depth(a.id, least(5000, 50000 / (SELECT count(*) FROM workerctl.lane))) d
  LEFT JOIN held h ON h.lane_id = a.id
  LEFT JOIN running r ON r.lane_id = a.id
  LEFT JOIN parent p ON p.lane_id = a.id
 GROUP BY a.queue, a.kind
 ORDER BY a.queue, a.kind
