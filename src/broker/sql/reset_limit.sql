-- Puts one limit back to what the config says.
SELECT m.name, workerctl.set_limit(m.name, m.configured) FROM workerctl.limits m WHERE m.name = %(name)s
