-- What a job remembers for its next attempts, by key.
SELECT key, value FROM workerctl.memory WHERE job_id = %(id)s::bigint ORDER BY key
