-- Removes rows that retention no longer keeps, a bounded number at once; how many.
SELECT workerctl.drop_old(%(keep)s::interval) + workerctl.forget_old(%(keep)s::interval)
       + workerctl.forget_spend(%(keep)s::interval)
