-- Cancels jobs and their children, so many at once; how many were ended or asked.
SELECT workerctl.cancel(%(ids)s::bigint[], %(most)s::integer)
