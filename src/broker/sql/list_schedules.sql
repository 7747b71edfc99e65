-- Scheduled tasks with the last due time that became a job, and what became of that.
SELECT s.name, s.cron, s.timezone, s.kind, s.last_due_at, s.paused_at, t.due_at AS last_tick_at, t.job_id AS last_job_id,
       j.status::text AS last_status,
       extract(epoch FROM coalesce(j.finished_at, now()) - j.started_at)::double precision AS last_seconds
  FROM workerctl.schedule s
  LEFT JOIN LATERAL (SELECT due_at, job_id FROM workerctl.tick WHERE name = s.name ORDER BY due_at DESC LIMIT 1) t ON true
  LEFT JOIN LATERAL (  -- LIMIT keeps the planner from reading all of history
       SELECT k.status, k.started_at, k.finished_at FROM workerctl.job k WHERE k.id = t.job_id LIMIT 1) j ON true
 ORDER BY s.name
