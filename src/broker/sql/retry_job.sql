-- Redoes one ended job, or what failed of a batch; how many jobs will run.
SELECT workerctl.retry(%(id)s::bigint)
