-- Cancels jobs and their children; how many were ended or asked.
SELECT workerctl.cancel(%(ids)s::bigint[])
