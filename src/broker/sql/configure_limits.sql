-- Makes the config's limits, rates and admission those that hold.
SELECT workerctl.configure_limits(%(limits)s::jsonb, %(rates)s::jsonb, %(admission)s::jsonb)
