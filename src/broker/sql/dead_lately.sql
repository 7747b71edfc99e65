-- How many jobs of each queue died within a day.
SELECT s.queue, sum(s.dead)::bigint
  FROM workerctl.run_stats s WHERE s.at + make_interval(secs => s.span / 2.0) > now() - interval '1 day' AND s.dead > 0
 GROUP BY s.queue
