-- The queues that have a due job nobody has claimed yet, and in how many seconds one may be: more than 0 where a batch is
-- still gathered, or the provider is paused that it waits for.
SELECT a.queue, min(greatest(CASE WHEN a.batch_wait > 0 THEN workerctl.ripe_in(a) ELSE 0 END,
                             CASE WHEN a.provider IS NULL THEN 0 ELSE workerctl.pause_left(a.provider) END))
  FROM workerctl.lane a
 CROSS JOIN LATERAL (SELECT 1 FROM workerctl.live l
                      WHERE l.lane_id = a.id AND l.status = 'pending' AND NOT l.held AND l.deaths = 0
                        AND l.rank < workerctl.later()
                      ORDER BY l.rank, l.id LIMIT 1) due
 WHERE NOT a.paused
 GROUP BY a.queue
UNION ALL
SELECT a.queue, min(CASE WHEN a.provider IS NULL THEN 0 ELSE workerctl.pause_left(a.provider) END)
  FROM workerctl.live l JOIN workerctl.lane a ON a.id = l.lane_id
 WHERE l.status = 'pending' AND NOT l.held AND l.deaths > 0 AND (l.rank < workerctl.later() OR l.run_at <= now())
   AND NOT a.paused
 GROUP BY a.queue
