-- Every queue that has or had jobs, with its depth.
SELECT a.queue, coalesce(bool_or(q.paused_at IS NOT NULL), false) AS paused,
       count(l.id) FILTER (WHERE l.status = 'pending' AND l.run_at <= now()) AS due,
       count(l.id) FILTER (WHERE l.status = 'pending' AND l.run_at > now()) AS later,
       count(l.id) FILTER (WHERE l.status = 'running') AS running,
       extract(epoch FROM now() - min(l.run_at) FILTER (WHERE l.status = 'pending' AND l.run_at <= now()))::double precision
           AS oldest_due_seconds
  FROM workerctl.lane a
  LEFT JOIN workerctl.queue q ON q.name = a.queue
  LEFT JOIN workerctl.live l ON l.lane_id = a.id
 GROUP BY a.queue
 ORDER BY a.queue
