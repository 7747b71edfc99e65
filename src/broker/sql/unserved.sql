-- Kinds and queues whose pending jobs no living worker can take, and how many those are, up to 1,000 each; none where no
-- worker lives at all.
SELECT a.kind, a.queue, known.so AS known, sum(w.jobs)::bigint AS jobs
  FROM workerctl.lane a
 CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM workerctl.worker w WHERE a.kind = ANY (w.kinds)) AS so) known
 CROSS JOIN LATERAL (SELECT count(*) AS jobs
                       FROM (SELECT FROM workerctl.live l
                              WHERE l.lane_id = a.id AND l.status = 'pending' AND NOT l.held AND l.deaths = 0 LIMIT 1000) f) w
 WHERE w.jobs > 0
   AND EXISTS (SELECT FROM workerctl.worker)
   AND NOT EXISTS (SELECT FROM workerctl.worker w
                    WHERE a.kind = ANY (w.kinds)
                      AND CASE WHEN w.queues IS NULL THEN a.queue <> ALL (w.excluded_queues) ELSE a.queue = ANY (w.queues) END)
 GROUP BY a.kind, a.queue, known.so
 ORDER BY jobs DESC, a.kind, a.queue
 LIMIT 20
