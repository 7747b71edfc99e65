-- The last lines of one job's execution log, oldest first.
SELECT attempt, level, message, fields, logged_at
  FROM (SELECT * FROM workerctl.execution_log WHERE job_id = %(id)s::bigint ORDER BY id DESC LIMIT %(limit)s::integer) AS last
 ORDER BY id
