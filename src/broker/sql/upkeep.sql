-- Makes history's next partitions, drops what retention no longer keeps.
SELECT workerctl.make_partitions(%(days)s::integer),
       workerctl.drop_old(%(keep)s::interval) + workerctl.forget_old(%(keep)s::interval)
       + workerctl.forget_spend(%(keep)s::interval)
