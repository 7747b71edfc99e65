-- Exact limits, counted from running rows. Whoever counts a key's seats holds that key's lock until its commit, taken in
-- an earlier statement than the count; claims only try it, so that nobody who holds one waits for another.

CREATE FUNCTION workerctl.key_lock(key text) RETURNS bigint LANGUAGE sql IMMUTABLE
RETURN hashtextextended('workerctl ' || key, 0);

-- Seats of a key that are taken: by jobs that run, and by those that this transaction is about to hand out.
CREATE FUNCTION workerctl.seats_taken(of_key text, picked bigint[] DEFAULT '{}') RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT count(*) FROM workerctl.seat s JOIN workerctl.live l ON l.id = s.job_id
     WHERE s.key = of_key AND (l.status = 'running' OR l.id = ANY (picked));
$$;

-- How many more jobs of a kind may start now by the limits and rates on kinds, and their names; NULL is any number.
CREATE FUNCTION workerctl.kind_room(of_kind text, picked bigint[], OUT free bigint, OUT names text[])
LANGUAGE sql STABLE AS $$
    SELECT min(r.free), array_agg(DISTINCT r.name ORDER BY r.name)
      FROM (SELECT m.name, m.most - workerctl.seats_taken(m.name, picked) AS free
              FROM workerctl.limits m WHERE m.name IN (of_kind, split_part(of_kind, '.', 1))
            UNION ALL
            SELECT m.name, m.most - (SELECT count(*) FROM workerctl.start s WHERE s.key = m.name AND s.at > now() - m.period)
              FROM workerctl.rates m WHERE m.name IN (of_kind, split_part(of_kind, '.', 1))) r;
$$;

-- Take seats and note starts for jobs that are handed out now, under the names of their kind's limits.
CREATE FUNCTION workerctl.take_seats(ids bigint[], names text[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO workerctl.seat (key, job_id)
    SELECT m.name, i FROM workerctl.limits m, unnest(ids) AS i WHERE m.name = ANY (names)
        ON CONFLICT DO NOTHING;
    INSERT INTO workerctl.start (key, at)
    SELECT m.name, clock_timestamp() FROM workerctl.rates m, unnest(ids) AS i WHERE m.name = ANY (names);
$$;

-- How many more jobs of a key may start now by its rate, and when one may once those have begun. To count its starts reads
-- as many rows as the rate allows: a claim asks once for each key, under its lock, and counts down. NULL where it has none.
CREATE FUNCTION workerctl.rate_room(of_name text, of_key text, OUT free bigint, OUT again_at timestamptz)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    rate workerctl.rates;
    oldest timestamptz;
BEGIN
    SELECT * INTO rate FROM workerctl.rates m WHERE m.name = of_name;
    IF FOUND THEN
        SELECT rate.most - count(*), min(f.at) INTO free, oldest
          FROM (SELECT s.at FROM workerctl.start s WHERE s.key = of_key AND s.at > now() - rate.period
                 ORDER BY s.at DESC LIMIT rate.most) f;
        again_at := coalesce(oldest, clock_timestamp()) + rate.period;
    END IF;
END $$;

-- Whether one job with keys may be handed out now, and its seats if so. One that may not is put out of sight: held until
-- a seat is free, or a start of a rate; those that wait for its other keys come in instead. NULL where somebody
-- else is counting one of its keys at this moment. `rooms` is what this claim knows of rates: {place: {free, again_at}}, where
-- the place is a name and a key, as two names may give one key.
CREATE FUNCTION workerctl.admit(job workerctl.live, picked bigint[], INOUT rooms jsonb, OUT admitted boolean)
LANGUAGE plpgsql AS $$
DECLARE
    i integer;
    places text[];
    room jsonb;
BEGIN
    FOR i IN 1 .. cardinality(job.limit_keys) LOOP
        places[i] := job.limit_names[i] || ' ' || job.limit_keys[i];
        IF NOT pg_try_advisory_xact_lock(workerctl.key_lock(job.limit_keys[i])) THEN
            RETURN;
        END IF;
    END LOOP;
    admitted := false;
    IF job.rank >= workerctl.later() THEN  -- a suspect, which nobody brought forward: not to be held behind all others
        job.rank := workerctl.rank_of(job.run_at, job.priority);
    END IF;
    FOR i IN 1 .. cardinality(job.limit_keys) LOOP
        IF EXISTS (SELECT FROM workerctl.limits m WHERE m.name = job.limit_names[i]
                      AND m.most <= workerctl.seats_taken(job.limit_keys[i], picked)) THEN
            UPDATE workerctl.live SET held = true, rank = job.rank WHERE id = job.id;
            INSERT INTO workerctl.hold (key, rank, job_id) VALUES (job.limit_keys[i], job.rank, job.id) ON CONFLICT DO NOTHING;
            PERFORM workerctl.let_in(k) FROM unnest(job.limit_keys) AS k WHERE k <> job.limit_keys[i];
            RETURN;
        END IF;
        room := rooms -> places[i];
        IF room IS NULL THEN
            room := to_jsonb(workerctl.rate_room(job.limit_names[i], job.limit_keys[i]));
            rooms := rooms || jsonb_build_object(places[i], room);
        END IF;
        IF (room ->> 'free')::bigint <= 0 THEN
            UPDATE workerctl.live SET held = true, rank = job.rank WHERE id = job.id;
            INSERT INTO workerctl.hold (key, rank, job_id) VALUES (job.limit_keys[i], job.rank, job.id) ON CONFLICT DO NOTHING;
            INSERT INTO workerctl.used_up AS u (key, free_at) VALUES (job.limit_keys[i], (room ->> 'again_at')::timestamptz)
                ON CONFLICT (key) DO UPDATE SET free_at = excluded.free_at WHERE u.free_at <> excluded.free_at;
            PERFORM workerctl.let_in(k) FROM unnest(job.limit_keys) AS k
              WHERE k <> job.limit_keys[i] AND EXISTS (SELECT FROM workerctl.hold h WHERE h.key = k);
            RETURN;
        END IF;
    END LOOP;
    FOR i IN 1 .. cardinality(job.limit_keys) LOOP
        IF rooms #>> ARRAY[places[i], 'free'] IS NOT NULL THEN
            rooms := jsonb_set(rooms, ARRAY[places[i], 'free'], to_jsonb((rooms #>> ARRAY[places[i], 'free'])::bigint - 1));
        END IF;
    END LOOP;
    INSERT INTO workerctl.seat (key, job_id)
    SELECT k.key, job.id FROM unnest(job.limit_names, job.limit_keys) AS k(name, key)
     WHERE EXISTS (SELECT FROM workerctl.limits m WHERE m.name = k.name)
        ON CONFLICT DO NOTHING;
    INSERT INTO workerctl.start (key, at)
    SELECT k.key, clock_timestamp() FROM unnest(job.limit_names, job.limit_keys) AS k(name, key)
     WHERE EXISTS (SELECT FROM workerctl.rates m WHERE m.name = k.name) GROUP BY k.key;
    admitted := true;
END $$;

-- `picked` and up to `most` jobs of a lane in rank order; no more of a limited one where somebody else is counting at this
-- moment.
CREATE FUNCTION workerctl.pick_of_lane(lane workerctl.lane, limited boolean, most bigint, picked bigint[], low jsonb)
RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    names text[];
    job workerctl.live;
    verdict record;
    rooms jsonb := '{}';
    more bigint[] := '{}';
BEGIN
    IF limited THEN
        names := (SELECT room.names FROM workerctl.kind_room(lane.kind, picked) room);
        IF EXISTS (SELECT FROM unnest(names) AS n WHERE NOT pg_try_advisory_xact_lock(workerctl.key_lock(n))) THEN
            RETURN picked;
        END IF;
        most := greatest(0, least(most, (SELECT room.free FROM workerctl.kind_room(lane.kind, picked) room)));  -- under the lock
    END IF;
    IF NOT lane.keyed THEN
        more := ARRAY(
            SELECT l.id FROM workerctl.live l
             WHERE l.lane_id = lane.id AND l.status = 'pending' AND NOT l.held AND l.deaths = 0
               AND l.rank >= workerctl.lowest(low, lane.id) AND l.rank < workerctl.later()
             ORDER BY l.rank, l.id LIMIT most FOR UPDATE SKIP LOCKED);
    ELSE
        FOR job IN SELECT * FROM workerctl.live l
                    WHERE l.lane_id = lane.id AND l.status = 'pending' AND NOT l.held AND l.deaths = 0
                      AND l.rank >= workerctl.lowest(low, lane.id) AND l.rank < workerctl.later()
                    ORDER BY l.rank, l.id LIMIT 4 * most + 100 FOR UPDATE SKIP LOCKED LOOP
            EXIT WHEN cardinality(more) >= most;
            SELECT * INTO verdict FROM workerctl.admit(job, picked || more, rooms);
            rooms := verdict.rooms;
            IF verdict.admitted THEN
                more := more || job.id;
            END IF;
        END LOOP;
    END IF;
    IF names IS NOT NULL THEN
        PERFORM workerctl.take_seats(more, names);
    END IF;
    RETURN picked || more;
END $$;

-- A suspect is handed out alone, but under the limits of its kind and keys as any other.
CREATE FUNCTION workerctl.admit_suspect(suspect workerctl.live) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    lane workerctl.lane;
    room record;
BEGIN
    SELECT * INTO lane FROM workerctl.lane a WHERE a.id = suspect.lane_id;
    SELECT * INTO room FROM workerctl.kind_room(lane.kind, '{}');
    IF EXISTS (SELECT FROM unnest(room.names) AS n WHERE NOT pg_try_advisory_xact_lock(workerctl.key_lock(n))) THEN
        RETURN false;
    END IF;
    SELECT * INTO room FROM workerctl.kind_room(lane.kind, '{}');  -- counted after the lock
    IF room.free <= 0 OR suspect.limit_keys IS NOT NULL AND (SELECT v.admitted FROM workerctl.admit(suspect, '{}', '{}') v) IS NOT TRUE THEN
        RETURN false;
    END IF;
    PERFORM workerctl.take_seats(ARRAY[suspect.id], room.names);
    RETURN true;
END $$;

-- Jobs have left their seats: let those who waited for them back into the claim's sight. Called last in its
-- transaction, after every row lock, so that nobody waits for a row while holding a key.
CREATE FUNCTION workerctl.vacate(ids bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    keys text[];
    freed text;
BEGIN
    WITH left_behind AS (
        DELETE FROM workerctl.seat s WHERE s.job_id = ANY (ids) RETURNING s.key
    )
    SELECT array_agg(DISTINCT key ORDER BY key) INTO keys FROM left_behind;
    IF keys IS NULL THEN
        RETURN;
    END IF;
    FOREACH freed IN ARRAY keys LOOP
        PERFORM pg_advisory_xact_lock(workerctl.key_lock(freed));
        PERFORM workerctl.let_in(freed);
    END LOOP;
    PERFORM workerctl.ring();
END $$;

-- The limit or rate under which that one waits for a key which is first in line there.
CREATE FUNCTION workerctl.waits_by(of_key text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT l.limit_names[array_position(l.limit_keys, of_key)]
      FROM workerctl.hold h JOIN workerctl.live l ON l.id = h.job_id
     WHERE h.key = of_key ORDER BY h.rank LIMIT 1;
$$;

-- How many more jobs of one key may begin now by what the first that waits for it falls under; NULL is any number.
CREATE FUNCTION workerctl.key_room(of_key text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT least((SELECT m.most - workerctl.seats_taken(of_key) FROM workerctl.limits m WHERE m.name = f.name),
                 (SELECT r.free FROM workerctl.rate_room(f.name, of_key) r))
      FROM workerctl.waits_by(of_key) AS f(name);
$$;

-- Let as many held jobs of one key back into sight as may begin now, and return how many those are; one that somebody is
-- cancelling is left out. Its lock is held by the caller.
CREATE FUNCTION workerctl.let_in(of_key text) RETURNS bigint LANGUAGE plpgsql SET enable_seqscan = off SET jit = off AS $$
DECLARE
    next bigint[];
BEGIN
    WITH front AS (
        SELECT h.rank, h.job_id
          FROM workerctl.hold h
          JOIN workerctl.live l ON l.id = h.job_id AND l.held
         WHERE h.key = of_key
         ORDER BY h.rank, h.job_id
         LIMIT greatest(0, coalesce(workerctl.key_room(of_key), 1000000))
           FOR UPDATE OF l SKIP LOCKED
    ), gone AS (
        DELETE FROM workerctl.hold h USING front f WHERE h.key = of_key AND h.rank = f.rank AND h.job_id = f.job_id
        RETURNING h.job_id
    )
    SELECT array_agg(g.job_id) INTO next FROM gone g;
    UPDATE workerctl.live l SET held = false WHERE l.id = ANY (next);
    RETURN coalesce(cardinality(next), 0);
END $$;

-- Let in who waited for a start of a rate that is free by now, of up to 100 keys, and return how many those are. A key is
-- looked at again when its next start is free, while somebody waits for it.
CREATE FUNCTION workerctl.bring_rated() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    waiting text;
    brought bigint := 0;
BEGIN
    FOR waiting IN SELECT u.key FROM workerctl.used_up u WHERE u.free_at <= now() ORDER BY u.free_at LIMIT 100 LOOP
        IF pg_try_advisory_xact_lock(workerctl.key_lock(waiting)) THEN  -- else somebody counts it just now
            brought := brought + workerctl.let_in(waiting);
            DELETE FROM workerctl.used_up u
             WHERE u.key = waiting AND NOT EXISTS (SELECT FROM workerctl.hold h WHERE h.key = waiting);
            UPDATE workerctl.used_up u
               SET free_at = coalesce((
                   SELECT CASE WHEN r.free > 0 THEN least(r.again_at, now() + interval '1 s') ELSE r.again_at END
                     FROM workerctl.rate_room(workerctl.waits_by(waiting), waiting) r), now() + interval '1 s')
             WHERE u.key = waiting;
        END IF;
    END LOOP;
    RETURN brought;
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
CREATE FUNCTION workerctl.set_limit(limit_name text, new_most integer) RETURNS void
LANGUAGE plpgsql SET lock_timeout = '3s' SET enable_seqscan = off SET jit = off AS $$
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

-- Make the config's limits, rates and admission those that hold; a limit set by hand stays so until it is reset.
CREATE FUNCTION workerctl.configure_limits(new_limits jsonb, new_rates jsonb, new_admission jsonb) RETURNS void
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
    UPDATE workerctl.lane SET provider = NULL WHERE provider IS NOT NULL;  -- the config may name another for its kind
    IF new_admission <> '{}' AND to_regclass('workerctl.live_root') IS NULL THEN  -- only who asks for it pays for its index
        BEGIN  -- last: who writes waits behind it, while it waits for somebody's open transaction
            PERFORM set_config('lock_timeout', '300ms', true);
            CREATE INDEX IF NOT EXISTS live_root ON workerctl.live (lane_id, plan) WHERE status = 'pending' AND parent_id IS NULL;
        EXCEPTION WHEN insufficient_privilege OR lock_not_available OR query_canceled THEN  -- of millions it takes too long
            RAISE WARNING 'admission counts without its index, which could not be made: %', SQLERRM;
        END;
    END IF;
END $$;

-- What only time and accidents make necessary: starts that no rate counts any more, seats of jobs that are gone, and
-- whoever waits beside a free seat: of 1,000 keys at a time, those after `after`. Returns after which to go on, or ''.
CREATE FUNCTION workerctl.tidy_limits(after text DEFAULT '') RETURNS text LANGUAGE plpgsql SET enable_seqscan = off SET jit = off AS $$
DECLARE
    waiting text;
    looked integer := 0;
BEGIN
    IF after = '' THEN
        DELETE FROM workerctl.start s USING workerctl.rates r WHERE r.name = s.key AND s.at < now() - r.period;
        DELETE FROM workerctl.start s  -- a key that is no rate's name was rendered for one of a template
         WHERE s.at < now() - coalesce((SELECT max(r.period) FROM workerctl.rates r WHERE r.name LIKE '%{%'), '0')
           AND s.key <> ALL (ARRAY(SELECT r.name FROM workerctl.rates r));
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
