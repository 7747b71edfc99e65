-- Settles, reports, renews and claims for one worker in one transaction, fenced by (id, attempt, worker).
SELECT workerctl.exchange($1::bigint, $2::jsonb)
