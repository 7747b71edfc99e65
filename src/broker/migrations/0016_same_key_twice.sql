-- Of two jobs with one unique key in the same call the first comes to be, and the second is told its id; and no call is
-- told nothing, because the job that had its key ended in between.

-- As before; rows go in in the order given, so that the first of a unique key is the one that is there already for the next.
CREATE OR REPLACE FUNCTION workerctl.insert_jobs(specs jsonb, parent bigint DEFAULT NULL) RETURNS bigint[]
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    ids bigint[];
    due boolean;
    templates text[] := ARRAY(SELECT name FROM workerctl.limits WHERE name LIKE '%{%' OR name LIKE '%:%'
                              UNION SELECT name FROM workerctl.rates WHERE name LIKE '%{%' OR name LIKE '%:%');
BEGIN
    WITH wanted AS (
        SELECT DISTINCT coalesce(s.queue, k.queue, 'default') AS queue, s.kind, f.keyed
          FROM jsonb_to_recordset(specs) AS s(kind text, queue text)
          LEFT JOIN workerctl.kind k ON k.name = s.kind
         CROSS JOIN (SELECT unnest(CASE WHEN templates = '{}' THEN '{f}' ELSE '{f,t}' END::boolean[])) AS f(keyed)
    )
    INSERT INTO workerctl.lane (queue, kind, keyed, batch, batch_wait, paused)
    SELECT w.queue, w.kind, w.keyed, coalesce(k.batch, 1), coalesce(k.batch_wait, 0), q.paused_at IS NOT NULL
      FROM wanted w
      LEFT JOIN workerctl.kind k ON k.name = w.kind
      LEFT JOIN workerctl.queue q ON q.name = w.queue
     WHERE NOT EXISTS (SELECT FROM workerctl.lane a WHERE a.queue = w.queue AND a.kind = w.kind AND a.keyed = w.keyed)
    ON CONFLICT DO NOTHING;

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
                WHERE r.key IS NOT NULL) keys ON templates <> '{}'
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
         ORDER BY s.ordinal
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

-- As before; of one unique key a call asks for one place, however often it names it.
CREATE OR REPLACE FUNCTION workerctl.check_admission(specs jsonb) RETURNS void
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
