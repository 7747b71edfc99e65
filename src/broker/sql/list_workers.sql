-- Every worker of the fleet that is registered, with what it has in hand.
SELECT w.node_id, w.host, w.pool, w.slot, w.pid, w.schema, w.started_at,
       extract(epoch FROM w.lease_until - now())::double precision AS lease_seconds_left, count(l.id) AS jobs_running
  FROM workerctl.worker w
  LEFT JOIN workerctl.live l ON l.worker_id = w.id
 GROUP BY w.id
 ORDER BY w.host, w.node_id, w.pool, w.slot, w.id
