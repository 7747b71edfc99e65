-- Putting jobs in: rank, wake-up, and one insert behind every door.

CREATE FUNCTION workerctl.rank_of(run_at timestamptz, priority integer) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (extract(epoch FROM run_at) * 1000)::bigint - priority * 600000::bigint;

-- Ring the agents, through a token bucket: at most about one notification in 20 ms, whoever enqueues. A notification in
-- every transaction would serialise all commits. A sequence is not transactional, which is what makes it a shared clock.
CREATE SEQUENCE workerctl.ring_clock MINVALUE 0 START 0;

CREATE FUNCTION workerctl.ring() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    now_ms bigint := (extract(epoch FROM clock_timestamp()) * 1000)::bigint;
BEGIN
    IF now_ms - (SELECT last_value FROM workerctl.ring_clock) NOT BETWEEN 0 AND 19 THEN
        PERFORM setval('workerctl.ring_clock', now_ms);
        PERFORM pg_notify('workerctl', 'ring');
    END IF;
END $$;

-- Insert jobs given as a JSON array of {kind, payload, queue, priority, run_at, unique_key, user_id, plan, max_attempts};
-- returns their ids in the array's order. A unique_key that an unfinished job holds gives that job's id. With a parent
-- they are its children, numbered from 0.
CREATE FUNCTION workerctl.insert_jobs(specs jsonb, parent bigint DEFAULT NULL) RETURNS bigint[]
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    ids bigint[];
    due boolean;
BEGIN
    INSERT INTO workerctl.lane (queue, kind)
    SELECT DISTINCT coalesce(s.queue, k.queue, 'default'), s.kind
      FROM jsonb_to_recordset(specs) AS s(kind text, queue text)
      LEFT JOIN workerctl.kind k ON k.name = s.kind
     WHERE NOT EXISTS (SELECT FROM workerctl.lane a
                        WHERE a.queue = coalesce(s.queue, k.queue, 'default') AND a.kind = s.kind)
    ON CONFLICT DO NOTHING;

    WITH spec AS (
        SELECT nextval('workerctl.job_id') AS id, s.ordinal, a.id AS lane_id, s.unique_key,
               coalesce(s.run_at, now()) AS run_at, coalesce(s.priority, 0) AS priority,
               coalesce(s.max_attempts, k.max_attempts, 3) AS max_attempts,
               s.user_id, s.plan, coalesce(s.payload, '{}') AS payload
          FROM ROWS FROM (jsonb_to_recordset(specs)
                 AS (kind text, queue text, priority smallint, run_at timestamptz, unique_key text,
                     user_id text, plan text, max_attempts smallint, payload jsonb))
               WITH ORDINALITY AS s(kind, queue, priority, run_at, unique_key, user_id, plan, max_attempts, payload, ordinal)
          LEFT JOIN workerctl.kind k ON k.name = s.kind
          LEFT JOIN workerctl.lane a ON a.queue = coalesce(s.queue, k.queue, 'default') AND a.kind = s.kind
    ), inserted AS (
        INSERT INTO workerctl.live (id, lane_id, rank, priority, max_attempts, run_at, unique_key, user_id, plan, payload,
                                    parent_id, child_index)
        SELECT id, lane_id, workerctl.rank_of(run_at, priority), priority, max_attempts, run_at, unique_key, user_id, plan,
               payload, parent, CASE WHEN parent IS NOT NULL THEN ordinal - 1 END
          FROM spec
            ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL DO NOTHING
        RETURNING id, run_at
    )
    SELECT array_agg(CASE WHEN s.unique_key IS NULL OR i.id IS NOT NULL THEN s.id END ORDER BY s.ordinal),
           coalesce(bool_or(i.run_at <= now()), false)
      INTO ids, due
      FROM spec s LEFT JOIN inserted i USING (id);

    IF array_position(ids, NULL) IS NOT NULL THEN
        SELECT array_agg(coalesce(s.id, l.id) ORDER BY s.ordinal)
          INTO ids
          FROM ROWS FROM (unnest(ids), jsonb_to_recordset(specs) AS (unique_key text))
               WITH ORDINALITY AS s(id, unique_key, ordinal)
          LEFT JOIN workerctl.live l ON s.id IS NULL AND l.unique_key = s.unique_key;
    END IF;
    IF due THEN
        PERFORM workerctl.ring();
    END IF;
    RETURN ids;
END $$;

CREATE FUNCTION workerctl.enqueue(
    kind text, payload jsonb DEFAULT '{}', queue text DEFAULT NULL, priority integer DEFAULT 0,
    run_at timestamptz DEFAULT NULL, unique_key text DEFAULT NULL, user_id text DEFAULT NULL, plan text DEFAULT NULL,
    max_attempts integer DEFAULT NULL
) RETURNS bigint LANGUAGE sql AS $$
    SELECT (workerctl.insert_jobs(jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
        'kind', kind, 'queue', queue, 'priority', priority, 'run_at', run_at, 'unique_key', unique_key, 'user_id', user_id,
        'plan', plan, 'max_attempts', max_attempts)) || jsonb_build_object('payload', payload))))[1];
$$;

CREATE FUNCTION workerctl.enqueue_many(jobs jsonb) RETURNS bigint[] LANGUAGE sql AS $$
    SELECT workerctl.insert_jobs(jobs);
$$;
