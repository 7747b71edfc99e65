-- What the primary does of itself, with when it last did and how long that took.
SELECT name, every_seconds, last_run_at, last_seconds FROM workerctl.duty ORDER BY name
