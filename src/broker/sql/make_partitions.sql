-- Makes history's next partitions.
SELECT workerctl.make_partitions(%(days)s::integer)
