-- Who holds each seat of each limit.
SELECT s.key, s.job_id, a.kind, l.user_id, l.started_at, extract(epoch FROM clock_timestamp() - l.started_at)::double precision AS seconds,
       w.host AS node, w.pool || '/' || w.slot AS worker
  FROM workerctl.seat s
  JOIN workerctl.live l ON l.id = s.job_id AND l.status = 'running'
  JOIN workerctl.lane a ON a.id = l.lane_id
  LEFT JOIN workerctl.worker w ON w.id = l.worker_id
 ORDER BY s.key, l.started_at
