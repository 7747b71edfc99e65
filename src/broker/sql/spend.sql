-- What calls of providers cost since some time, grouped by one of user, plan, model, provider or kind. `in_flight` are calls
-- whose job still goes on with them; `unresolved` those of ended jobs, and those cut off at a provider that cannot be asked.
  SELECT CASE %(by)s::text WHEN 'user' THEN s.user_id WHEN 'plan' THEN s.plan WHEN 'model' THEN s.model
                           WHEN 'provider' THEN s.provider ELSE s.kind END AS name,
         count(*) AS calls,
         sum(s.cost)::double precision AS cost,
         coalesce(sum(s.images), 0) AS images,
         coalesce(sum(s.input_tokens), 0)::bigint AS input_tokens,
         coalesce(sum(s.output_tokens), 0)::bigint AS output_tokens,
         count(*) FILTER (WHERE s.state = 'wasted') AS wasted,
         count(*) FILTER (WHERE s.state = 'in flight' AND job.goes_on) AS in_flight,
         count(*) FILTER (WHERE s.state = 'unknown' OR s.state = 'in flight' AND NOT job.goes_on) AS unresolved
    FROM workerctl.spend s
   CROSS JOIN LATERAL (  -- of calls that are in flight alone: a join would read all live jobs
         SELECT CASE WHEN s.state = 'in flight' THEN (SELECT count(*) FROM workerctl.live l WHERE l.id = s.job_id) > 0 END
                AS goes_on) job
   WHERE s.begun_at > now() - make_interval(secs => %(seconds)s::double precision)
GROUP BY 1
ORDER BY cost DESC, name
