-- The last migration that the oldest living node or worker knows; NULL where none lives.
SELECT min(f.schema)
  FROM (SELECT n.schema FROM workerctl.node n WHERE n.lease_until > now()
        UNION ALL SELECT w.schema FROM workerctl.worker w) f
