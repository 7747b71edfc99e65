-- Newest jobs first, live and ended alike, that match every filter given.
SELECT id, kind, queue, status::text AS status, priority, attempt, max_attempts, payload, result, error, user_id, plan,
       parent_id, progress_done, progress_total, created_at, run_at, started_at, finished_at, node, worker
  FROM workerctl.job
 WHERE (%(status)s::text IS NULL OR status = %(status)s::text::workerctl.job_status)
   AND (%(kind)s::text IS NULL OR kind = %(kind)s::text)
   AND (%(user_id)s::text IS NULL OR user_id = %(user_id)s::text)
   AND (%(parent_id)s::bigint IS NULL OR parent_id = %(parent_id)s::bigint)
 ORDER BY id DESC
 LIMIT %(limit)s::integer
