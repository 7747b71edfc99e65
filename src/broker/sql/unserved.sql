-- Kinds and queues whose pending jobs no living worker can take, whether some worker knows the kind (NULL: none lives), and
-- how many those are, up to 1,000 each.
  WITH living AS (SELECT w.kinds, w.queues, w.excluded_queues FROM workerctl.worker w WHERE w.lease_until > now())
SELECT a.kind, a.queue, known.so AS known, sum(w.jobs)::bigint AS jobs
  FROM workerctl.lane a
 CROSS JOIN LATERAL (SELECT bool_or(a.kind = ANY (v.kinds)) AS so FROM living v) known
 CROSS JOIN LATERAL (SELECT count(*) AS jobs
                       FROM (SELECT FROM workerctl.live l
                              WHERE l.lane_id = a.id AND l.status = 'pending' AND NOT l.held AND l.deaths = 0 LIMIT 1000) f) w
 WHERE w.jobs > 0
   AND NOT EXISTS (SELECT FROM living v
                    WHERE a.kind = ANY (v.kinds)
                      AND CASE WHEN v.queues IS NULL THEN a.queue <> ALL (v.excluded_queues) ELSE a.queue = ANY (v.queues) END)
 GROUP BY a.kind, a.queue, known.so
 ORDER BY jobs DESC, a.kind, a.queue
 LIMIT 20
