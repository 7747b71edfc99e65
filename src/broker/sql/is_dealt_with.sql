-- Whether one due time of a scheduled task became a job, or was left out while the task was paused.
SELECT EXISTS (SELECT FROM workerctl.schedule WHERE name = %(name)s AND last_due_at >= %(due_at)s::timestamptz)
