-- The fleet's machines, the living first, with what they run.
SELECT n.id, n.host, n.version, n.schema, n.cores, n.started_at, n.renewed_at,
       extract(epoch FROM now() - n.renewed_at)::double precision AS renewed_seconds_ago, n.lease_until > now() AS alive,
       p.node_id IS NOT NULL AS is_primary, count(DISTINCT w.id) AS workers, count(l.id) AS jobs_running
  FROM workerctl.node n
  LEFT JOIN workerctl.leadership p ON p.node_id = n.id AND p.lease_until > now()
  LEFT JOIN workerctl.worker w ON w.node_id = n.id
  LEFT JOIN workerctl.live l ON l.worker_id = w.id
 GROUP BY n.id, p.node_id
 ORDER BY alive DESC, n.host, n.id
