-- Makes the config's limits and rates those that hold.
SELECT workerctl.configure_limits(%(limits)s::jsonb, %(rates)s::jsonb)
