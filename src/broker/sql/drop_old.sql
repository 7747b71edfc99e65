-- Removes rows that retention no longer keeps, a bounded number at once; how many. Calls that a budget counts are kept for it.
SELECT workerctl.drop_old(%(keep)s::interval) + workerctl.forget_old(%(keep)s::interval)
       + workerctl.forget_spend(%(keep_spend)s::interval)
