-- Putting jobs in: rank, wake-up, and one insert behind every door.

-- STABLE, as `extract` is: a function that claims more than its body is not inlined but run as a query, 2 us a row.
CREATE FUNCTION workerctl.rank_of(run_at timestamptz, priority integer) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
RETURN (extract(epoch FROM run_at) * 1000)::bigint - priority * 600000::bigint;

-- Ring the agents, through a token bucket: at most about one notification in 20 ms, whoever enqueues. A notification in
-- every transaction would serialise all commits. A sequence is not transactional, which is what makes it a shared clock.
CREATE SEQUENCE workerctl.ring_clock MINVALUE 0 START 0;

CREATE FUNCTION workerctl.ring() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    now_ms bigint := (extract(epoch FROM clock_timestamp()) * 1000)::bigint;
    since_ms bigint := now_ms - coalesce(pg_sequence_last_value('workerctl.ring_clock'), 0);  -- a query would cost 15 us more
BEGIN
    IF since_ms NOT BETWEEN 0 AND 19 THEN
        PERFORM setval('workerctl.ring_clock', now_ms);
        PERFORM pg_notify('workerctl', 'ring');
    END IF;
END $$;

-- A key such as `user:{user_id}` or `model:{payload.model}` for one job; NULL, not limited, where a value is absent.
CREATE FUNCTION workerctl.render_key(template text, user_id text, plan text, payload jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    hole text;
    value text;
BEGIN
    FOR hole IN SELECT m[1] FROM regexp_matches(template, '\{([^{}]+)\}', 'g') AS m LOOP
        value := CASE hole WHEN 'user_id' THEN user_id
                           WHEN 'plan' THEN plan
                           WHEN 'model' THEN payload ->> 'model'
                           ELSE payload #>> string_to_array(regexp_replace(hole, '^payload\.', ''), '.') END;
        template := replace(template, '{' || hole || '}', left(value, 200));
    END LOOP;
    RETURN template;
END $$;

-- Insert jobs given as a JSON array of {kind, payload, queue, priority, run_at, unique_key, user_id, plan, max_attempts};
-- returns their ids in the array's order. A unique_key that an unfinished job holds gives that job's id. With a parent
-- they are its children, numbered from 0. A user's jobs queue up a second of rank apart, so that users take turns.
CREATE FUNCTION workerctl.insert_jobs(specs jsonb, parent bigint DEFAULT NULL) RETURNS bigint[]
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    ids bigint[];
    due boolean;
    templates text[] := '{}';
    lanes boolean[] := '{f}';  -- each queue and kind has: keyed or not
BEGIN
    IF EXISTS (SELECT FROM workerctl.limits) OR EXISTS (SELECT FROM workerctl.rates) THEN
        templates := ARRAY(SELECT name FROM workerctl.limits WHERE name LIKE '%{%' OR name LIKE '%:%'
                           UNION SELECT name FROM workerctl.rates WHERE name LIKE '%{%' OR name LIKE '%:%');
        lanes := CASE WHEN templates = '{}' THEN '{f}' ELSE '{f,t}' END;
    END IF;
    IF EXISTS (  -- asking costs half of an insert that has nothing to do
           SELECT FROM (SELECT DISTINCT s.kind, s.queue FROM jsonb_to_recordset(specs) AS s(kind text, queue text)) s
             LEFT JOIN workerctl.kind k ON k.name = s.kind
            WHERE (SELECT count(*) FROM workerctl.lane a
                    WHERE a.queue = coalesce(s.queue, k.queue, 'default') AND a.kind = s.kind
                      AND (templates <> '{}' OR NOT a.keyed)) < cardinality(lanes)) THEN
        INSERT INTO workerctl.lane (queue, kind, keyed, batch, batch_wait, paused)
        SELECT DISTINCT coalesce(s.queue, k.queue, 'default'), s.kind, f.keyed,
               coalesce(k.batch, 1), coalesce(k.batch_wait, 0), q.paused_at IS NOT NULL
          FROM jsonb_to_recordset(specs) AS s(kind text, queue text)
          LEFT JOIN workerctl.kind k ON k.name = s.kind
          LEFT JOIN workerctl.queue q ON q.name = coalesce(s.queue, k.queue, 'default')
         CROSS JOIN unnest(lanes) AS f(keyed)
            ON CONFLICT DO NOTHING;
    END IF;

    WITH given AS (
        SELECT nextval('workerctl.job_id') AS id, s.ordinal, s.kind, coalesce(s.queue, k.queue, 'default') AS queue,
               s.unique_key, coalesce(s.run_at, now()) AS run_at, coalesce(s.priority, 0) AS priority,
               coalesce(s.max_attempts, k.max_attempts, 3) AS max_attempts,
               s.user_id, s.plan, coalesce(s.payload, '{}') AS payload, keys.names, keys.keys
          FROM ROWS FROM (jsonb_to_recordset(specs)
                 AS (kind text, queue text, priority smallint, run_at timestamptz, unique_key text,
                     user_id text, plan text, max_attempts smallint, payload jsonb))
               WITH ORDINALITY AS s(kind, queue, priority, run_at, unique_key, user_id, plan, max_attempts, payload, ordinal)
          LEFT JOIN workerctl.kind k ON k.name = s.kind
          LEFT JOIN LATERAL (
               SELECT array_agg(r.name ORDER BY r.key) AS names, array_agg(r.key ORDER BY r.key) AS keys
                 FROM (SELECT t AS name,
                              CASE WHEN t LIKE '%{%' THEN workerctl.render_key(t, s.user_id, s.plan, s.payload)
                                   WHEN t IN (translate(s.kind, '.-', '__') || ':' || s.plan,  -- image:paid, ds_chat:free
                                              split_part(s.kind, '.', 1) || ':' || s.plan, s.kind || ':' || s.plan) THEN t
                              END AS key
                         FROM unnest(templates) AS t) r
                WHERE r.key IS NOT NULL
                LIMIT CASE WHEN templates = '{}' THEN 0 END) keys ON true  -- 0: nothing below is run
    ), spec AS (
        SELECT g.*, a.id AS lane_id,
               row_number() OVER (PARTITION BY a.id, g.user_id, g.priority ORDER BY g.ordinal) AS turn
          FROM given g
          LEFT JOIN workerctl.lane a ON a.queue = g.queue AND a.kind = g.kind AND a.keyed = (g.keys IS NOT NULL)
    ), backlog AS (
        SELECT u.lane_id, u.user_id, u.priority, e.rank
          FROM (SELECT DISTINCT lane_id, user_id, priority FROM spec WHERE user_id IS NOT NULL) u
         CROSS JOIN LATERAL (
               SELECT l.rank FROM workerctl.live l
                WHERE l.lane_id = u.lane_id AND l.user_id = u.user_id AND l.priority = u.priority
                  AND l.status = 'pending' AND l.run_at <= l.created_at
                ORDER BY l.rank DESC LIMIT 1) e
    ), inserted AS (
        INSERT INTO workerctl.live (id, lane_id, rank, priority, max_attempts, run_at, unique_key, user_id, plan, payload,
                                    parent_id, child_index, limit_names, limit_keys)
        SELECT s.id, s.lane_id,
               CASE WHEN s.user_id IS NULL OR s.run_at > now() THEN workerctl.rank_of(s.run_at, s.priority)
                    ELSE greatest(workerctl.rank_of(s.run_at, s.priority) - 1000, coalesce(b.rank, 0)) + 1000 * s.turn END,
               s.priority, s.max_attempts, s.run_at, s.unique_key, s.user_id, s.plan, s.payload, parent,
               CASE WHEN parent IS NOT NULL THEN s.ordinal - 1 END, s.names, s.keys
          FROM spec s
          LEFT JOIN backlog b ON b.lane_id = s.lane_id AND b.user_id = s.user_id AND b.priority = s.priority
         ORDER BY s.ordinal  -- so that of two with one unique key the first comes to be
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
        WHILE parent IS NULL AND array_position(ids, NULL) IS NOT NULL LOOP  -- who had the key has ended since
            ids[array_position(ids, NULL)] := (workerctl.insert_jobs(jsonb_build_array(specs -> array_position(ids, NULL) - 1)))[1];
        END LOOP;
    END IF;
    IF due THEN
        PERFORM workerctl.ring();
    END IF;
    RETURN ids;
END $$;

-- Refuse root jobs past what admission allows, with SQLSTATE WQ001 and, as DETAIL, {"name", "most", "retry_after_seconds"}.
-- Exact under concurrency: the count runs under the name's lock, which the caller's transaction keeps to its end; whoever
-- waits for it longer than 2 s is refused with the server's lock_timeout error. Children and follow-ups never come here.
CREATE FUNCTION workerctl.check_admission(specs jsonb) RETURNS void
LANGUAGE plpgsql SET lock_timeout = '2s' SET enable_seqscan = off AS $$
DECLARE
    asked record;
    pending bigint;
    oldest timestamptz;
BEGIN
    FOR asked IN
        SELECT m.name, m.most, count(*) FILTER (WHERE s.unique_key IS NULL) + count(DISTINCT s.unique_key) AS jobs
          FROM workerctl.admission m
          JOIN jsonb_to_recordset(specs) AS s(kind text, plan text, unique_key text)
            ON m.name IN (s.kind, 'plan:' || s.plan)
         WHERE s.unique_key IS NULL
            OR NOT EXISTS (SELECT FROM workerctl.live l WHERE l.unique_key = s.unique_key)
         GROUP BY m.name, m.most
         ORDER BY m.name LOOP
        PERFORM pg_advisory_xact_lock(hashtextextended('workerctl admission ' || asked.name, 0));
        SELECT count(*), min(f.created_at) INTO pending, oldest
          FROM (SELECT r.created_at  -- each lane from the index: never more rows than the cap, whatever else is pending
                  FROM workerctl.lane a
                 CROSS JOIN LATERAL (
                       SELECT l.created_at FROM workerctl.live l
                        WHERE l.lane_id = a.id AND l.status = 'pending' AND l.parent_id IS NULL AND a.kind = asked.name
                        LIMIT asked.most + 1) r
                UNION ALL
                SELECT r.created_at
                  FROM workerctl.lane a
                 CROSS JOIN LATERAL (
                       SELECT l.created_at FROM workerctl.live l
                        WHERE l.lane_id = a.id AND l.status = 'pending' AND l.parent_id IS NULL
                          AND l.plan = substr(asked.name, 6) AND asked.name LIKE 'plan:%'
                        LIMIT asked.most + 1) r
                 LIMIT asked.most + 1) f;
        IF pending + asked.jobs > asked.most THEN
            RAISE EXCEPTION '% is full: % of % are pending', asked.name, pending, asked.most
                USING ERRCODE = 'WQ001', DETAIL = json_build_object(
                    'name', asked.name, 'most', asked.most, 'retry_after_seconds',
                    -- at the pace at which the oldest got to the front
                    least(3600, greatest(1, ceil(extract(epoch FROM now() - coalesce(oldest, now()))
                                                 * (pending + asked.jobs - asked.most) / greatest(pending, 1)))));
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION workerctl.enqueue_many(jobs jsonb) RETURNS bigint[] LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM workerctl.admission) THEN
        PERFORM workerctl.check_admission(jobs);
    END IF;
    RETURN workerctl.insert_jobs(jobs);
END $$;

CREATE FUNCTION workerctl.enqueue(
    kind text, payload jsonb DEFAULT '{}', queue text DEFAULT NULL, priority integer DEFAULT 0,
    run_at timestamptz DEFAULT NULL, unique_key text DEFAULT NULL, user_id text DEFAULT NULL, plan text DEFAULT NULL,
    max_attempts integer DEFAULT NULL
) RETURNS bigint LANGUAGE sql AS $$
    SELECT (workerctl.enqueue_many(jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
        'kind', kind, 'queue', queue, 'priority', priority, 'run_at', run_at, 'unique_key', unique_key, 'user_id', user_id,
        'plan', plan, 'max_attempts', max_attempts)) || jsonb_build_object('payload', payload))))[1];
$$;
