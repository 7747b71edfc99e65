-- Redoes one ended job, or what failed of a batch, so many at once; how many jobs will run.
SELECT workerctl.retry(%(id)s::bigint, %(most)s::integer)
