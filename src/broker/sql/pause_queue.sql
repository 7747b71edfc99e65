-- Pauses or resumes one queue; a resumed one wakes the workers, and its kinds find out anew which provider they wait for.
WITH lanes AS (
    UPDATE workerctl.lane SET paused = %(paused)s::boolean, provider = NULL WHERE queue = %(name)s
), changed AS (
    INSERT INTO workerctl.queue AS q (name, paused_at)
    VALUES (%(name)s, CASE WHEN %(paused)s::boolean THEN now() END)
        ON CONFLICT (name) DO UPDATE SET paused_at = excluded.paused_at
    RETURNING paused_at
)
SELECT workerctl.ring() FROM changed WHERE paused_at IS NULL
