-- Putting jobs in: rank, wake-up, and one insert behind every door.

-- What a priority is worth, in ranks: ten minutes of run_at.
CREATE FUNCTION workerctl.head_start(priority integer) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN priority * 600000::bigint;

-- STABLE, as `extract` is: a function that claims more than its body is not inlined but run as a query, 2 us a row.
CREATE FUNCTION workerctl.rank_of(run_at timestamptz, priority integer) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
RETURN (extract(epoch FROM run_at) * 1000)::bigint - workerctl.head_start(priority);

-- Where ranks of jobs for later begin, behind all others: a look for due jobs ends here, however many wait for their time.
-- What is below was due once and stays so, though the clock be set back.
CREATE FUNCTION workerctl.later() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 1152921504606846976;  -- 2^60

-- The rank of a job for later: by its time in ms, and within one by priority (256 ranks a ms): of many that are for one
-- instant a bounded number comes forward at once.
CREATE FUNCTION workerctl.later_rank(run_at timestamptz, priority integer) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
RETURN workerctl.later() + 256 * workerctl.rank_of(run_at, 0) + 100 - priority;

-- The rank of a job that comes to be or goes back now: among those for later, until `bring_due`.
CREATE FUNCTION workerctl.place_of(run_at timestamptz, priority integer) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN run_at > now() THEN workerctl.later_rank(run_at, priority) ELSE workerctl.rank_of(run_at, priority) END;

-- Where the line of a user's due jobs in a lane ends; 0 without any.
CREATE FUNCTION workerctl.line_end(of_lane integer, of_user text, of_priority smallint) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce(max(l.rank), 0) FROM workerctl.live l
     WHERE l.lane_id = of_lane AND l.user_id = of_user AND l.priority = of_priority
       AND l.status = 'pending' AND l.rank < workerctl.later();
$$;

-- Jobs for later that are due now take their rank among the due ones, up to 200 of each lane and 2,000 in all, for which a
-- statement has time; and those come into sight that waited for a rate. Returns how many did. A user's stand up behind each
-- other as if they were enqueued now, but for one that was tried before. The agent asks every second, and a claim that finds
-- nothing.
CREATE FUNCTION workerctl.bring_due() RETURNS bigint LANGUAGE plpgsql
SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    brought bigint := 0;
    due bigint[] := ARRAY(
        SELECT due.id
          FROM workerctl.lane a
         CROSS JOIN LATERAL (
               SELECT f.id FROM workerctl.live f
                WHERE f.lane_id = a.id AND f.status = 'pending' AND NOT f.held AND f.deaths = 0
                  AND f.rank BETWEEN workerctl.later() AND workerctl.later_rank(now(), -100)
                ORDER BY f.rank, f.id LIMIT 200 FOR UPDATE SKIP LOCKED) due
         LIMIT 2000);
BEGIN
    IF due <> '{}' THEN
        UPDATE workerctl.live l
           SET rank = t.rank
          FROM (SELECT f.id, CASE WHEN f.user_id IS NULL OR f.attempt > 0 THEN workerctl.rank_of(f.run_at, f.priority)
                                  ELSE greatest(workerctl.rank_of(f.run_at, f.priority) - a.turn_ms,
                                                workerctl.line_end(f.lane_id, f.user_id, f.priority))
                                       + a.turn_ms * row_number() OVER (
                                             PARTITION BY f.lane_id, f.user_id, f.priority, f.attempt > 0 ORDER BY f.rank, f.id)
                             END AS rank
                  FROM workerctl.live f JOIN workerctl.lane a ON a.id = f.lane_id
                 WHERE f.id = ANY (due)) t
         WHERE l.id = ANY (due) AND l.id = t.id;
        brought := cardinality(due);
    END IF;
    IF EXISTS (SELECT FROM workerctl.used_up) THEN
        brought := brought + workerctl.bring_rated();
    END IF;
    RETURN brought;
END $$;

-- What rang last, and at which job: milliseconds, and 20 bits of an id. A sequence is not transactional, which is what makes
-- it a shared clock.
CREATE SEQUENCE workerctl.ring_clock MINVALUE 0 START 0;

-- Whether the agents are to be rung: once in 20 ms, whoever enqueues, or in 3 ms while no more than two jobs came since. A
-- notification in every transaction would serialise all commits; but a job that comes alone, soon after another, would wait
-- for the next one, 10 ms on average, and nothing would have been spared.
CREATE FUNCTION workerctl.may_ring(rang bigint, job bigint, now_ms bigint) RETURNS boolean LANGUAGE sql IMMUTABLE
RETURN now_ms - (rang >> 20) NOT BETWEEN 0 AND CASE WHEN (job - rang) & 1048575 <= 2 THEN 2 ELSE 19 END;

-- How far apart an agent's looks are when nobody rings. What is to begin sooner rings too, so that it hears when that is.
CREATE FUNCTION workerctl.agents_look() RETURNS interval LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN interval '1 s';

CREATE FUNCTION workerctl.ring() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    rang bigint := coalesce(pg_sequence_last_value('workerctl.ring_clock'), 0);  -- a query would cost 15 us more
    job bigint := coalesce(pg_sequence_last_value('workerctl.job_id'), 0);
    now_ms bigint := (extract(epoch FROM clock_timestamp()) * 1000)::bigint;
BEGIN
    IF workerctl.may_ring(rang, job, now_ms) THEN
        PERFORM setval('workerctl.ring_clock', (now_ms << 20) | (job & 1048575));
        PERFORM pg_notify('workerctl', 'ring');
    END IF;
END $$;

-- A key such as `user:{user_id}` or `model:{payload.model}` for one job; NULL, not limited, where a value is absent. One
-- that is too long for an index goes by its hash: to refuse it would refuse what a handler that is done has enqueued.
CREATE FUNCTION workerctl.render_key(template text, user_id text, plan text, payload jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    part text;
    hole text;
    key text := split_part(template, '{', 1);
BEGIN
    FOREACH part IN ARRAY (string_to_array(template, '{'))[2:] LOOP
        hole := split_part(part, '}', 1);
        key := key || left(CASE hole WHEN 'user_id' THEN user_id
                                     WHEN 'plan' THEN plan
                                     WHEN 'model' THEN payload ->> 'model'
                                     ELSE payload #>> string_to_array(regexp_replace(hole, '^payload\.', ''), '.') END, 200)
                   || substr(part, length(hole) + 2);
    END LOOP;
    RETURN CASE WHEN octet_length(key) > 2000 THEN left(key, 200) || ' ' || encode(sha256(convert_to(key, 'UTF8')), 'hex') ELSE key END;
END $$;

-- What a job falls under by keys of its own: the names of these limits and rates, and its key of each.
CREATE TYPE workerctl.limited AS (names text[], keys text[]);

-- For each of `specs`, in order, what it falls under of `templates`, or NULL.
CREATE FUNCTION workerctl.limited_by(specs jsonb, templates text[]) RETURNS workerctl.limited[] LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ARRAY(
        SELECT CASE WHEN f.keys IS NOT NULL THEN ROW(f.names, f.keys)::workerctl.limited END
          FROM ROWS FROM (jsonb_to_recordset(specs) AS (kind text, user_id text, plan text, payload jsonb))
               WITH ORDINALITY AS s(kind, user_id, plan, payload, ordinal)
         CROSS JOIN LATERAL (
               SELECT array_agg(r.name ORDER BY r.key) AS names, array_agg(r.key ORDER BY r.key) AS keys
                 FROM (SELECT t AS name,
                              CASE WHEN t LIKE '%{%' THEN workerctl.render_key(t, s.user_id, s.plan, s.payload)
                                   WHEN t IN ('plan:' || s.plan,
                                              translate(s.kind, '.-', '__') || ':' || s.plan,  -- image:paid, ds_chat:free
                                              translate(split_part(s.kind, '.', 1), '-', '_') || ':' || s.plan,
                                              split_part(s.kind, '.', 1) || ':' || s.plan, s.kind || ':' || s.plan) THEN t
                              END AS key
                         FROM unnest(templates) AS t
                       OFFSET 0) r  -- not pulled up: each key would be rendered wherever it is named
                WHERE r.key IS NOT NULL) f
         ORDER BY s.ordinal);
END $$;

-- For each of `specs`, in order, the rank of a user's job that is due: as far behind the one before it, in this call or in
-- the lane, as a run takes (`turn_ms`), so that users take turns however late one comes. NULL for any other.
CREATE FUNCTION workerctl.turns(specs jsonb, lanes integer[]) RETURNS bigint[] LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ARRAY(
        SELECT CASE WHEN g.user_id IS NOT NULL AND o.run_at <= now()
                    THEN greatest(workerctl.rank_of(o.run_at, g.priority) - a.turn_ms, coalesce(e.rank, 0)) + a.turn_ms * o.turn END
          FROM (SELECT lanes[s.ordinal] AS lane_id, s.user_id, coalesce(s.priority, 0) AS priority,
                       array_agg(s.ordinal ORDER BY s.ordinal) AS ordinals,
                       array_agg(coalesce(s.run_at, now()) ORDER BY s.ordinal) AS run_ats
                  FROM ROWS FROM (jsonb_to_recordset(specs) AS (user_id text, priority smallint, run_at timestamptz))
                       WITH ORDINALITY AS s(user_id, priority, run_at, ordinal)
                 GROUP BY 1, 2, 3) g
          JOIN workerctl.lane a ON a.id = g.lane_id
          LEFT JOIN LATERAL (
               SELECT l.rank FROM workerctl.live l
                WHERE l.lane_id = g.lane_id AND l.user_id = g.user_id AND l.priority = g.priority
                  AND l.status = 'pending' AND l.rank < workerctl.later()
                ORDER BY l.rank DESC LIMIT 1) e ON true
         CROSS JOIN unnest(g.ordinals, g.run_ats) WITH ORDINALITY AS o(ordinal, run_at, turn)
         ORDER BY o.ordinal);
END $$;

-- What `insert_jobs` inserts. A function that is inlined, because it does so in two ways.
CREATE FUNCTION workerctl.newcomers(
    specs jsonb, parent bigint, ids bigint[], lanes integer[], attempts smallint[], ranks bigint[], limited workerctl.limited[],
    rank_now bigint
) RETURNS TABLE (
    id bigint, lane_id integer, rank bigint, priority smallint, max_attempts smallint, run_at timestamptz, unique_key text,
    user_id text, plan text, payload jsonb, parent_id bigint, child_index integer, limit_names text[], limit_keys text[]
) LANGUAGE sql STABLE AS $$
    SELECT ids[s.ordinal], lanes[s.ordinal],
           coalesce(ranks[s.ordinal], CASE WHEN s.run_at IS NULL THEN rank_now - workerctl.head_start(coalesce(s.priority, 0))
                                           ELSE workerctl.place_of(s.run_at, coalesce(s.priority, 0)) END),
           coalesce(s.priority, 0::smallint), coalesce(s.max_attempts, attempts[s.ordinal], 3::smallint),
           coalesce(s.run_at, now()), s.unique_key, s.user_id, s.plan, coalesce(s.payload, '{}'),
           parent, CASE WHEN parent IS NOT NULL THEN s.ordinal::integer - 1 END,
           limited[s.ordinal].names, limited[s.ordinal].keys
      FROM ROWS FROM (jsonb_to_recordset(specs)
             AS (priority smallint, run_at timestamptz, unique_key text, user_id text, plan text, max_attempts smallint,
                 payload jsonb))
           WITH ORDINALITY AS s(priority, run_at, unique_key, user_id, plan, max_attempts, payload, ordinal)
$$;

-- Insert jobs given as a JSON array of {kind, payload, queue, priority, run_at, unique_key, user_id, plan, max_attempts};
-- returns their ids in the array's order. A unique_key that an unfinished job holds gives that job's id. With a parent
-- they are its children, numbered from 0. What few calls need has statements of its own: each node of a plan costs a call
-- 2 us, used or not, and one statement for everything was half of what enqueueing one job cost.
CREATE FUNCTION workerctl.insert_jobs(specs jsonb, parent bigint DEFAULT NULL) RETURNS bigint[]
LANGUAGE plpgsql SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    templates text[] := '{}';
    first_kind text := specs #>> '{0,kind}';
    first_queue text := specs #>> '{0,queue}';
    first_lane integer;
    first_attempts smallint;
    ids bigint[];  -- this and the next four: one for each spec
    lanes integer[];
    attempts smallint[];
    ranks bigint[] := '{}';
    rank_now bigint := workerctl.rank_of(now(), 0);  -- of all that are due: for each of them it was 5 % of their cost
    limited workerctl.limited[] := '{}';
    inserted bigint;
BEGIN
    IF specs = '[]' THEN
        RETURN '{}';
    END IF;
    IF EXISTS (SELECT FROM workerctl.limits) OR EXISTS (SELECT FROM workerctl.rates) THEN
        templates := ARRAY(SELECT name FROM workerctl.limits WHERE name LIKE '%{%' OR name LIKE '%:%'
                           UNION SELECT name FROM workerctl.rates WHERE name LIKE '%{%' OR name LIKE '%:%');
        IF templates <> '{}' THEN
            limited := workerctl.limited_by(specs, templates);
        END IF;
    END IF;
    FOR ordinal IN 1 .. jsonb_array_length(specs) LOOP
        ids[ordinal] := nextval('workerctl.job_id');
    END LOOP;
    -- Most calls have one job, or jobs of one kind and queue: a lane found for each was a tenth of what they cost.
    IF limited = '{}' AND NOT EXISTS (
           SELECT FROM jsonb_to_recordset(specs) AS s(kind text, queue text)
            WHERE s.kind IS DISTINCT FROM first_kind OR s.queue IS DISTINCT FROM first_queue) THEN
        SELECT a.id, k.max_attempts
          INTO first_lane, first_attempts
          FROM (VALUES (first_kind)) AS f(kind)
          LEFT JOIN workerctl.kind k ON k.name = f.kind
          LEFT JOIN workerctl.lane a ON a.queue = coalesce(first_queue, k.queue, 'default') AND a.kind = f.kind AND NOT a.keyed;
        lanes := array_fill(first_lane, ARRAY[cardinality(ids)]);
        attempts := array_fill(first_attempts, ARRAY[cardinality(ids)]);
    END IF;
    WHILE first_lane IS NULL LOOP
        SELECT array_agg(a.id ORDER BY o.ordinal), array_agg(k.max_attempts ORDER BY o.ordinal)
          INTO lanes, attempts
          FROM (SELECT s.kind, s.queue, limited[s.ordinal] IS NOT NULL AS keyed, array_agg(s.ordinal) AS ordinals
                  FROM ROWS FROM (jsonb_to_recordset(specs) AS (kind text, queue text))
                       WITH ORDINALITY AS s(kind, queue, ordinal)
                 GROUP BY 1, 2, 3) g  -- to look up what is the same for many jobs for each of them was a tenth of their cost
          LEFT JOIN workerctl.kind k ON k.name = g.kind
          LEFT JOIN LATERAL (
               SELECT a.id FROM workerctl.lane a
                WHERE a.queue = coalesce(g.queue, k.queue, 'default') AND a.kind = g.kind AND a.keyed = g.keyed
                LIMIT 1) a ON true  -- by its key, however many lanes there are
         CROSS JOIN unnest(g.ordinals) AS o(ordinal);
        EXIT WHEN array_position(lanes, NULL) IS NULL;
        INSERT INTO workerctl.lane (queue, kind, keyed, batch, batch_wait, paused)
        SELECT DISTINCT coalesce(s.queue, k.queue, 'default') AS queue, s.kind, limited[s.ordinal] IS NOT NULL AS keyed,
               coalesce(k.batch, 1), coalesce(k.batch_wait, 0), q.paused_at IS NOT NULL
          FROM ROWS FROM (jsonb_to_recordset(specs) AS (kind text, queue text)) WITH ORDINALITY AS s(kind, queue, ordinal)
          LEFT JOIN workerctl.kind k ON k.name = s.kind
          LEFT JOIN workerctl.queue q ON q.name = coalesce(s.queue, k.queue, 'default')
         ORDER BY queue, kind, keyed  -- two who make the same ones wait for each other in one direction
            ON CONFLICT DO NOTHING;
    END LOOP;
    IF specs @? '$[*].user_id' THEN
        ranks := workerctl.turns(specs, lanes);
    END IF;

    IF specs @? '$[*].unique_key' THEN
        INSERT INTO workerctl.live (id, lane_id, rank, priority, max_attempts, run_at, unique_key, user_id, plan, payload,
                                    parent_id, child_index, limit_names, limit_keys)
        SELECT * FROM workerctl.newcomers(specs, parent, ids, lanes, attempts, ranks, limited, rank_now) n
         ORDER BY n.unique_key, n.id  -- two who insert the same wait for each other in one direction; of two here the first comes to be
            ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL DO NOTHING;
    ELSE  -- ON CONFLICT costs each row a tenth: a lock and a confirmation in the WAL
        INSERT INTO workerctl.live (id, lane_id, rank, priority, max_attempts, run_at, unique_key, user_id, plan, payload,
                                    parent_id, child_index, limit_names, limit_keys)
        SELECT * FROM workerctl.newcomers(specs, parent, ids, lanes, attempts, ranks, limited, rank_now);
    END IF;
    GET DIAGNOSTICS inserted = ROW_COUNT;
    IF inserted < cardinality(ids) THEN
        SELECT array_agg(CASE WHEN s.unique_key IS NULL THEN ids[s.ordinal] ELSE l.id END ORDER BY s.ordinal)
          INTO ids
          FROM ROWS FROM (jsonb_to_recordset(specs) AS (unique_key text)) WITH ORDINALITY AS s(unique_key, ordinal)
          LEFT JOIN workerctl.live l ON l.unique_key = s.unique_key;
        WHILE parent IS NULL AND array_position(ids, NULL) IS NOT NULL LOOP  -- who had the key has ended since
            ids[array_position(ids, NULL)] := (workerctl.insert_jobs(jsonb_build_array(specs -> array_position(ids, NULL) - 1)))[1];
        END LOOP;
    END IF;
    IF inserted > 0 AND (NOT specs @? '$[*].run_at' OR EXISTS (
           SELECT FROM jsonb_to_recordset(specs) AS s(run_at timestamptz)
            WHERE coalesce(s.run_at <= now() + workerctl.agents_look(), true))) THEN
        PERFORM workerctl.ring();
    END IF;
    RETURN ids;
END $$;

-- Refuse root jobs past what admission allows, with SQLSTATE WQ001 and, as DETAIL, {"name", "most", "retry_after_seconds"};
-- that is an hour where no wait would help, since there are more of them than may ever be pending.
-- Exact under concurrency: the count runs under the name's lock, which the caller's transaction keeps to its end; whoever
-- waits for it longer than 2 s is refused alike, with another word. A transaction whose snapshot may be older than that
-- lock is refused with WQ004: what it counts others have changed. Children and follow-ups never come here.
-- A job whose unique key an unfinished one has is not counted. Returns whether there are such: that one may end before they are
-- put in, so that this is asked again with the ids that were given, `made`.
CREATE FUNCTION workerctl.check_admission(specs jsonb, made bigint[] DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql SET lock_timeout = '2s' SET enable_seqscan = off SET jit = off AS $$
DECLARE
    asked record;
    any_taken boolean := false;
    pending bigint;
    oldest timestamptz;
    soonest timestamptz;
    never boolean;
    wait_seconds integer;
BEGIN
    FOR asked IN
        SELECT m.name, m.most, bool_or(l.id IS NOT NULL) AS taken,
               count(*) FILTER (WHERE s.unique_key IS NULL)
               + count(DISTINCT s.unique_key) FILTER (WHERE l.id IS NULL OR l.id = made[s.ordinal] AND l.created_at = now()) AS jobs
          FROM workerctl.admission m
          JOIN ROWS FROM (jsonb_to_recordset(specs) AS (kind text, plan text, unique_key text))
               WITH ORDINALITY AS s(kind, plan, unique_key, ordinal)
            ON m.name IN (s.kind, split_part(s.kind, '.', 1), 'plan:' || s.plan)
          LEFT JOIN workerctl.live l ON l.unique_key = s.unique_key
         GROUP BY m.name, m.most
         ORDER BY m.name LOOP
        IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
            RAISE EXCEPTION '% has an admission, which cannot be counted in a % transaction: it does not see what others enqueued since it began',
                asked.name, current_setting('transaction_isolation')
                USING ERRCODE = 'WQ004', HINT = 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED, or enqueue after its commit';
        END IF;
        BEGIN
            PERFORM pg_advisory_xact_lock(hashtextextended('workerctl admission ' || asked.name, 0));
        EXCEPTION WHEN lock_not_available THEN
            RAISE EXCEPTION '% cannot be counted: a transaction that enqueued has been open for 2 s; try again in 1 s', asked.name
                USING ERRCODE = 'WQ001', DETAIL = json_build_object(
                    'name', asked.name, 'most', asked.most, 'retry_after_seconds', 1);
        END;
        any_taken := any_taken OR asked.taken;
        CONTINUE WHEN asked.jobs = 0;
        SELECT count(*), min(f.created_at), min(f.run_at) INTO pending, oldest, soonest
          FROM (SELECT r.created_at, r.run_at  -- each lane from the index: never more rows than the cap, whatever else is pending
                  FROM workerctl.lane a
                 CROSS JOIN LATERAL (
                       SELECT l.created_at, l.run_at FROM workerctl.live l
                        WHERE l.lane_id = a.id AND l.status = 'pending' AND l.parent_id IS NULL
                          AND asked.name IN (a.kind, split_part(a.kind, '.', 1))
                        LIMIT asked.most + 1) r
                UNION ALL
                SELECT r.created_at, r.run_at
                  FROM workerctl.lane a
                 CROSS JOIN LATERAL (
                       SELECT l.created_at, l.run_at FROM workerctl.live l
                        WHERE l.lane_id = a.id AND l.status = 'pending' AND l.parent_id IS NULL
                          AND l.plan = substr(asked.name, 6) AND asked.name LIKE 'plan:%'
                        LIMIT asked.most + 1) r
                 LIMIT asked.most + 1) f;
        pending := pending - CASE WHEN made IS NULL THEN 0 ELSE asked.jobs END;  -- they are in
        IF pending + asked.jobs > asked.most THEN
            never := asked.jobs > asked.most;
            -- at the pace at which the oldest got to the front, and not before one of them may begin
            wait_seconds := CASE WHEN never THEN 3600 ELSE
                least(3600, greatest(1, ceil(extract(epoch FROM soonest - now())),
                                     ceil(extract(epoch FROM now() - coalesce(oldest, now()))
                                          * (pending + asked.jobs - asked.most) / greatest(pending, 1)))) END;
            RAISE EXCEPTION '%', CASE
                WHEN asked.most = 0 THEN format('%s takes no jobs: its admission is 0', asked.name)
                WHEN never THEN format('%s takes %s pending jobs at most, and these are %s', asked.name, asked.most, asked.jobs)
                ELSE format('%s is full: %s of %s are pending; try again in %s s', asked.name, pending, asked.most, wait_seconds)
                END
                USING ERRCODE = 'WQ001', DETAIL = json_build_object(
                    'name', asked.name, 'most', asked.most, 'retry_after_seconds', wait_seconds);
        END IF;
    END LOOP;
    RETURN any_taken;
END $$;

CREATE FUNCTION workerctl.enqueue_many(jobs jsonb) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    any_taken boolean := EXISTS (SELECT FROM workerctl.admission) AND workerctl.check_admission(jobs);
    ids bigint[] := workerctl.insert_jobs(jobs);
BEGIN
    IF any_taken THEN
        PERFORM workerctl.check_admission(jobs, ids);
    END IF;
    RETURN ids;
END $$;

-- One job. Refuses what it cannot be with SQLSTATE 22023 and a plain word; the payload's own constraints speak for themselves.
CREATE FUNCTION workerctl.enqueue(
    kind text, payload jsonb DEFAULT '{}', queue text DEFAULT NULL, priority integer DEFAULT 0,
    run_at timestamptz DEFAULT NULL, unique_key text DEFAULT NULL, user_id text DEFAULT NULL, plan text DEFAULT NULL,
    max_attempts integer DEFAULT NULL
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    wrong text := CASE
        WHEN kind IS NULL OR length(kind) NOT BETWEEN 1 AND 200 THEN 'kind is a text of 1 to 200 characters'
        WHEN length(queue) NOT BETWEEN 1 AND 200 THEN 'queue is a text of 1 to 200 characters'
        WHEN priority NOT BETWEEN -100 AND 100 THEN format('priority %s is not between -100 and 100', priority)
        WHEN max_attempts NOT BETWEEN 1 AND 1000 THEN format('max_attempts %s is not between 1 and 1000', max_attempts)
        WHEN run_at NOT BETWEEN '0001-01-03 00:00+00' AND '9999-12-30 00:00+00'  -- nobody could read it in every zone
            THEN format('run_at %s is no time of the years 1 to 9999', run_at)
        WHEN length(unique_key) > 500 THEN format('unique_key of %s characters: at most 500 are allowed', length(unique_key))
        WHEN length(user_id) > 200 THEN format('user_id of %s characters: at most 200 are allowed', length(user_id))
        WHEN length(plan) > 200 THEN format('plan of %s characters: at most 200 are allowed', length(plan)) END;
BEGIN
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'enqueue: %', wrong USING ERRCODE = '22023';
    END IF;
    RETURN (workerctl.enqueue_many(jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
        'kind', kind, 'queue', queue, 'priority', priority, 'run_at', run_at, 'unique_key', unique_key, 'user_id', user_id,
        'plan', plan, 'max_attempts', max_attempts)) || jsonb_build_object('payload', payload))))[1];
END $$;
