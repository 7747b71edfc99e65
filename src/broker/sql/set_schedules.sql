-- Makes the configured tasks known and forgets the others; a new or changed one starts from now. Returns each with its
-- last due time.
WITH wanted AS (
    SELECT * FROM jsonb_to_recordset(%(tasks)s::jsonb) AS r(name text, cron text, timezone text, kind text, payload jsonb)
), forgotten AS (
    DELETE FROM workerctl.schedule s WHERE NOT EXISTS (SELECT FROM wanted w WHERE w.name = s.name)
)
INSERT INTO workerctl.schedule AS s (name, cron, timezone, kind, payload)
SELECT w.name, w.cron, w.timezone, w.kind, coalesce(w.payload, '{}') FROM wanted w
    ON CONFLICT (name) DO UPDATE
       SET cron = excluded.cron, timezone = excluded.timezone, kind = excluded.kind, payload = excluded.payload,
           last_due_at = CASE WHEN (s.cron, s.timezone) = (excluded.cron, excluded.timezone) THEN s.last_due_at
                              ELSE now() END
RETURNING name, last_due_at
