-- One due time of one scheduled task, exactly once, and only under the primary's current term.
SELECT workerctl.make_tick(%(term)s::bigint, %(name)s, %(due_at)s::timestamptz, %(kind)s, %(payload)s::jsonb)
