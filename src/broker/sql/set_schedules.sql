-- Makes the configured tasks known; a new or changed one starts from now. Returns each with its last due time.
INSERT INTO workerctl.schedule AS s (name, cron, timezone, kind)
SELECT r.name, r.cron, r.timezone, r.kind
  FROM jsonb_to_recordset(%(tasks)s::jsonb) AS r(name text, cron text, timezone text, kind text)
    ON CONFLICT (name) DO UPDATE
       SET cron = excluded.cron, timezone = excluded.timezone, kind = excluded.kind,
           last_due_at = CASE WHEN (s.cron, s.timezone) = (excluded.cron, excluded.timezone) THEN s.last_due_at
                              ELSE now() END
RETURNING name, last_due_at
