-- Scheduled tasks with the last due time that became a job.
SELECT s.name, s.cron, s.timezone, s.kind, s.last_due_at, s.paused_at, t.due_at AS last_tick_at, t.job_id AS last_job_id
  FROM workerctl.schedule s
  LEFT JOIN LATERAL (SELECT due_at, job_id FROM workerctl.tick WHERE name = s.name ORDER BY due_at DESC LIMIT 1) t ON true
 ORDER BY s.name
