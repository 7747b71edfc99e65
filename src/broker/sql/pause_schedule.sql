-- Pauses or resumes one scheduled task; what fell due meanwhile is not made up for, was there a primary or not.
UPDATE workerctl.schedule
   SET paused_at = CASE WHEN %(paused)s::boolean THEN now() END,
       last_due_at = CASE WHEN paused_at IS NULL THEN last_due_at ELSE greatest(last_due_at, now()) END
 WHERE name = %(name)s
RETURNING name
