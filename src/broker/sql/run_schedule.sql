-- Enqueues one scheduled task now, beside its due times.
SELECT workerctl.enqueue(kind => kind, payload => payload) FROM workerctl.schedule WHERE name = %(name)s
