-- Settles, reports, renews and claims for one worker in one transaction, fenced by (id, attempt, worker).
SELECT workerctl.exchange(%s::bigint, %s::jsonb)::text
