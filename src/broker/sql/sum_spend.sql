-- Adds the calls of providers that have ended up by the hour, so that budgets need not look at each.
SELECT workerctl.sum_spend()
