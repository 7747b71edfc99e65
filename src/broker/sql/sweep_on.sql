-- Goes on with a cancel or retry of these jobs, or with those that nobody goes on with: how many jobs, and whether there is more.
SELECT jobs, more FROM workerctl.sweep_on(%(asked)s::bigint[], %(most)s::integer)
