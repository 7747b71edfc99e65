-- The queues that have a due job nobody has claimed yet.
SELECT DISTINCT a.queue
  FROM workerctl.lane a
  LEFT JOIN workerctl.queue q ON q.name = a.queue
 CROSS JOIN LATERAL (SELECT 1 FROM workerctl.live l
                      WHERE l.lane_id = a.id AND l.status = 'pending' AND NOT l.held AND l.deaths = 0 AND l.run_at <= now()
                      ORDER BY l.rank, l.id LIMIT 1) due
 WHERE q.paused_at IS NULL
UNION
SELECT a.queue
  FROM workerctl.live l JOIN workerctl.lane a ON a.id = l.lane_id
 WHERE l.status = 'pending' AND NOT l.held AND l.deaths > 0 AND l.run_at <= now()
