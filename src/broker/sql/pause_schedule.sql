-- Pauses or resumes one scheduled task; what falls due meanwhile is not made up for.
UPDATE workerctl.schedule SET paused_at = CASE WHEN %(paused)s::boolean THEN now() END WHERE name = %(name)s RETURNING name
