-- Every kind that a worker has known.
SELECT name FROM workerctl.kind ORDER BY name
