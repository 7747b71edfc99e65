-- Drops the days of history that retention no longer keeps.
SELECT workerctl.drop_days(%(keep)s::interval)
