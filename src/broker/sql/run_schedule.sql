-- Enqueues one scheduled task now, beside its due times; like those not through admission's door.
SELECT (workerctl.insert_jobs(jsonb_build_array(jsonb_build_object('kind', kind, 'payload', payload))))[1]
  FROM workerctl.schedule WHERE name = %(name)s
