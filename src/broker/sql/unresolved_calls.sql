-- Calls that may have been paid for without anybody having what they made, the newest first.
  SELECT s.id, s.job_id, s.attempt, s.state::text AS state, s.kind, s.provider, s.model, s.user_id, s.plan,
         s.cost::double precision AS cost, s.call_key::text AS call_key, s.begun_at
    FROM workerctl.spend s
   WHERE s.begun_at > now() - make_interval(secs => %(seconds)s::double precision)
     AND (s.state = 'unknown'
          OR s.state = 'in flight' AND NOT EXISTS (SELECT FROM workerctl.live l WHERE l.id = s.job_id))
ORDER BY s.id DESC
   LIMIT 1000
