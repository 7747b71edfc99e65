-- A limit that is changed holds for every claim: none is under way that counted by the earlier one. Whoever lets held jobs
-- in waits for nobody, and upkeep takes a bounded number of locks, however many keys there are.

-- Let as many held jobs of one key back into sight as it has free seats; one that somebody is cancelling is left out.
-- Its lock is held by the caller.
CREATE OR REPLACE FUNCTION workerctl.let_in(of_key text) RETURNS void LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    most integer;
    next bigint[];
BEGIN
    SELECT m.most INTO most
      FROM workerctl.hold h
      JOIN workerctl.live l ON l.id = h.job_id
      JOIN workerctl.limits m ON m.name = l.limit_names[array_position(l.limit_keys, of_key)]
     WHERE h.key = of_key
     ORDER BY h.rank LIMIT 1;
    WITH front AS (
        SELECT h.rank, h.job_id
          FROM workerctl.hold h
          JOIN workerctl.live l ON l.id = h.job_id AND l.held
         WHERE h.key = of_key
         ORDER BY h.rank, h.job_id
         LIMIT greatest(0, coalesce(most, 1000000) - workerctl.seats_taken(of_key))
           FOR UPDATE OF l SKIP LOCKED
    ), gone AS (
        DELETE FROM workerctl.hold h USING front f WHERE h.key = of_key AND h.rank = f.rank AND h.job_id = f.job_id
        RETURNING h.job_id
    )
    SELECT array_agg(g.job_id) INTO next FROM gone g;
    UPDATE workerctl.live l SET held = false WHERE l.id = ANY (next);
END $$;

-- As before; a job that has to wait for one of its keys makes way for those that wait for the others.
CREATE OR REPLACE FUNCTION workerctl.admit(job workerctl.live, picked bigint[]) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    i integer;
    again_at timestamptz;
BEGIN
    FOR i IN 1 .. cardinality(job.limit_keys) LOOP
        IF NOT pg_try_advisory_xact_lock(workerctl.key_lock(job.limit_keys[i])) THEN
            RETURN NULL;
        END IF;
    END LOOP;
    FOR i IN 1 .. cardinality(job.limit_keys) LOOP
        IF EXISTS (SELECT FROM workerctl.limits m WHERE m.name = job.limit_names[i]
                      AND m.most <= workerctl.seats_taken(job.limit_keys[i], picked)) THEN
            UPDATE workerctl.live SET held = true WHERE id = job.id;
            INSERT INTO workerctl.hold (key, rank, job_id) VALUES (job.limit_keys[i], job.rank, job.id) ON CONFLICT DO NOTHING;
            PERFORM workerctl.let_in(k) FROM unnest(job.limit_keys) AS k WHERE k <> job.limit_keys[i];
            RETURN false;
        END IF;
        SELECT oldest.at + m.period INTO again_at
          FROM workerctl.rates m
         CROSS JOIN LATERAL (SELECT s.at FROM workerctl.start s
                              WHERE s.key = job.limit_keys[i] AND s.at > now() - m.period
                              ORDER BY s.at DESC OFFSET m.most - 1 LIMIT 1) oldest
         WHERE m.name = job.limit_names[i];
        IF again_at IS NOT NULL THEN
            UPDATE workerctl.live SET run_at = again_at, rank = workerctl.rank_of(again_at, priority) WHERE id = job.id;
            PERFORM workerctl.let_in(k) FROM unnest(job.limit_keys) AS k;
            RETURN false;
        END IF;
    END LOOP;
    INSERT INTO workerctl.seat (key, job_id)
    SELECT k.key, job.id FROM unnest(job.limit_names, job.limit_keys) AS k(name, key)
     WHERE EXISTS (SELECT FROM workerctl.limits m WHERE m.name = k.name)
        ON CONFLICT DO NOTHING;
    INSERT INTO workerctl.start (key, at)
    SELECT k.key, clock_timestamp() FROM unnest(job.limit_names, job.limit_keys) AS k(name, key)
     WHERE EXISTS (SELECT FROM workerctl.rates m WHERE m.name = k.name);
    RETURN true;
END $$;

-- Keys that jobs wait for, the first 1,000 that come after one.
CREATE FUNCTION workerctl.held_keys(after text) RETURNS SETOF text LANGUAGE sql STABLE AS $$
    WITH RECURSIVE walk AS (
        (SELECT h.key, 1 AS number FROM workerctl.hold h WHERE h.key > after ORDER BY h.key LIMIT 1)
        UNION ALL
        SELECT (SELECT h.key FROM workerctl.hold h WHERE h.key > w.key ORDER BY h.key LIMIT 1), w.number + 1
          FROM walk w WHERE w.key IS NOT NULL AND w.number < 1000
    )
    SELECT w.key FROM walk w WHERE w.key IS NOT NULL;
$$;

-- Change a limit, or take it away with NULL. Jobs that run and fall under it already take their seats. Every claim holds a
-- row of `worker` to its commit: behind this lock none is under way that has not seen the limit, and all that began before
-- can be counted. Whoever may come in now is let in by `tidy_limits`, in transactions of their own.
CREATE OR REPLACE FUNCTION workerctl.set_limit(limit_name text, new_most integer) RETURNS void
LANGUAGE plpgsql SET lock_timeout = '3s' SET enable_seqscan = off AS $$
BEGIN
    LOCK TABLE workerctl.worker IN EXCLUSIVE MODE;
    IF new_most IS NULL THEN
        DELETE FROM workerctl.limits m WHERE m.name = limit_name;
    ELSE
        INSERT INTO workerctl.limits AS m (name, most) VALUES (limit_name, new_most)
            ON CONFLICT (name) DO UPDATE SET most = excluded.most;
        INSERT INTO workerctl.seat (key, job_id)
        SELECT limit_name, l.id FROM workerctl.live l JOIN workerctl.lane a ON a.id = l.lane_id
         WHERE l.worker_id IS NOT NULL AND limit_name IN (a.kind, split_part(a.kind, '.', 1))
        UNION
        SELECT k.key, l.id FROM workerctl.live l CROSS JOIN unnest(l.limit_names, l.limit_keys) AS k(name, key)
         WHERE l.worker_id IS NOT NULL AND k.name = limit_name
            ON CONFLICT DO NOTHING;
    END IF;
    PERFORM workerctl.ring();
END $$;
DROP FUNCTION workerctl.let_in_all();

-- What only time and accidents make necessary: starts that no rate counts any more, seats of jobs that are gone, and
-- whoever waits beside a free seat: of 1,000 keys at a time, those after `after`. Returns after which to go on, or ''.
DROP FUNCTION workerctl.tidy_limits();
CREATE FUNCTION workerctl.tidy_limits(after text DEFAULT '') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    waiting text;
    looked integer := 0;
BEGIN
    IF after = '' THEN
        DELETE FROM workerctl.start s
         WHERE s.at < now() - (SELECT coalesce(max(r.period), '0') FROM workerctl.rates r);
        DELETE FROM workerctl.seat s
         WHERE NOT EXISTS (SELECT FROM workerctl.live l WHERE l.id = s.job_id AND l.status = 'running');
    END IF;
    FOR waiting IN SELECT * FROM workerctl.held_keys(after) LOOP
        looked := looked + 1;
        IF pg_try_advisory_xact_lock(workerctl.key_lock(waiting)) THEN  -- else somebody counts it just now
            PERFORM workerctl.let_in(waiting);
        END IF;
    END LOOP;
    RETURN CASE WHEN looked = 1000 THEN waiting ELSE '' END;
END $$;

-- As before; rates change for every claim at once, and kinds find out anew which provider they wait for.
CREATE OR REPLACE FUNCTION workerctl.configure_limits(new_limits jsonb, new_rates jsonb, new_admission jsonb) RETURNS void
LANGUAGE plpgsql SET lock_timeout = '3s' AS $$
DECLARE
    changed record;
BEGIN
    FOR changed IN
        SELECT coalesce(n.key, m.name) AS name, n.value::integer AS wanted, m.most, m.configured
          FROM jsonb_each_text(new_limits) AS n(key, value)
          FULL JOIN (SELECT * FROM workerctl.limits) m ON m.name = n.key
         WHERE n.value::integer IS DISTINCT FROM m.configured LOOP
        IF changed.most IS NOT DISTINCT FROM changed.configured THEN
            PERFORM workerctl.set_limit(changed.name, changed.wanted);
        END IF;
        UPDATE workerctl.limits m SET configured = changed.wanted WHERE m.name = changed.name;
    END LOOP;
    IF (SELECT jsonb_object_agg(r.name, jsonb_build_array(r.most, extract(epoch FROM r.period))) FROM workerctl.rates r)
       IS DISTINCT FROM (SELECT jsonb_object_agg(n.key, jsonb_build_array(n.value -> 'most', n.value -> 'period_seconds'))
                           FROM jsonb_each(new_rates) AS n(key, value)) THEN
        LOCK TABLE workerctl.worker IN EXCLUSIVE MODE;  -- see set_limit
    END IF;
    DELETE FROM workerctl.rates r WHERE NOT new_rates ? r.name;
    INSERT INTO workerctl.rates AS r (name, most, period)
    SELECT n.key, (n.value ->> 'most')::integer, make_interval(secs => (n.value ->> 'period_seconds')::double precision)
      FROM jsonb_each(new_rates) AS n(key, value)
        ON CONFLICT (name) DO UPDATE SET most = excluded.most, period = excluded.period;
    DELETE FROM workerctl.admission d WHERE NOT new_admission ? d.name;
    INSERT INTO workerctl.admission (name, most)
    SELECT n.key, n.value::integer FROM jsonb_each_text(new_admission) AS n(key, value)
        ON CONFLICT (name) DO UPDATE SET most = excluded.most;
    IF new_admission <> '{}' THEN  -- only who asks for admission pays for its index
        CREATE INDEX IF NOT EXISTS live_root ON workerctl.live (lane_id, plan) WHERE status = 'pending' AND parent_id IS NULL;
    END IF;
    UPDATE workerctl.lane SET provider = NULL WHERE provider IS NOT NULL;  -- the config may name another for its kind
END $$;

-- As before; a held job that is cancelled waits for its key no more.
CREATE OR REPLACE FUNCTION workerctl.cancel(ids bigint[]) RETURNS bigint LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    whole bigint[];
    pending jsonb;
    keys text[];
    freed text;
BEGIN
    whole := ARRAY(
        WITH RECURSIVE family AS (
            SELECT l.id, 0 AS depth FROM workerctl.live l WHERE l.id = ANY (ids)
            UNION ALL
            SELECT l.id, f.depth + 1 FROM workerctl.live l JOIN family f ON l.parent_id = f.id
        )
        SELECT id FROM family GROUP BY id ORDER BY max(depth) DESC, id);
    PERFORM 1 FROM workerctl.live l JOIN unnest(whole) WITH ORDINALITY AS w(id, position) USING (id)
      WHERE l.id = ANY (whole) ORDER BY w.position FOR UPDATE OF l;
    UPDATE workerctl.live SET cancel_asked_at = now()
     WHERE id = ANY (whole) AND status <> 'pending' AND cancel_asked_at IS NULL;
    SELECT jsonb_agg(jsonb_build_object('id', l.id, 'status', 'cancelled', 'error', 'cancelled by request'))
      INTO pending
      FROM workerctl.live l WHERE l.id = ANY (whole) AND l.status = 'pending';
    IF pending IS NOT NULL THEN
        keys := ARRAY(SELECT DISTINCT k FROM workerctl.live l, unnest(l.limit_keys) AS k
                       WHERE l.id = ANY (whole) AND l.status = 'pending' AND NOT l.held);
        DELETE FROM workerctl.hold h
         WHERE (h.key, h.rank, h.job_id) IN (
               SELECT o.key, o.rank, o.job_id
                 FROM workerctl.live l
                CROSS JOIN unnest(l.limit_keys) AS k
                 JOIN workerctl.hold o ON o.key = k AND o.rank = l.rank AND o.job_id = l.id
                WHERE l.id = ANY (whole) AND l.held);
        PERFORM workerctl.finish(pending);
        FOREACH freed IN ARRAY keys LOOP  -- who was let in and leaves makes room for the next; only tried, as rows are locked here
            IF pg_try_advisory_xact_lock(workerctl.key_lock(freed)) THEN
                PERFORM workerctl.let_in(freed);
                PERFORM workerctl.ring();
            END IF;
        END LOOP;
    END IF;
    RETURN cardinality(whole);
END $$;
