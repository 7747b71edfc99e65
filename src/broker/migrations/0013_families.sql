-- Families: a job with all that stand above and below it. Cancel and retry, which users ask for.

-- Batches whose children are being cancelled, or retried, some thousand in a transaction, as a statement has 5 seconds: by
-- whoever asked for it, or by the primary once that one is gone.
CREATE TABLE workerctl.sweep (
    job_id   bigint PRIMARY KEY,
    asked_of bigint NOT NULL,   -- the job that was named: this one, or a batch above it
    redo     boolean NOT NULL,  -- a retry, else a cancel
    after    integer NOT NULL DEFAULT -1,  -- the index of the last child that was looked at
    at       timestamptz NOT NULL DEFAULT now()  -- when whoever asked last went on
);

-- Who changes a family's members keeps others who do so out, by one of 256 locks that its topmost job has, before any lock of a
-- row: who came to rows that somebody has revived meanwhile would wait for a worker that has them, and waits for their batch.
-- A job by itself has it too, as it may become a batch until its row is locked. Workers that settle are not kept out.
CREATE FUNCTION workerctl.lock_families(ids bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    locks bigint[];
BEGIN
    WITH line AS MATERIALIZED (SELECT * FROM workerctl.line_of(ids))
    SELECT array_agg(DISTINCT o.id % 256) INTO locks FROM line o WHERE NOT EXISTS (SELECT FROM line a WHERE a.id = o.parent_id);
    FOR i IN 1 .. coalesce(cardinality(locks), 0) LOOP
        PERFORM pg_advisory_xact_lock(hashtextextended('workerctl family ' || locks[i], 0));
    END LOOP;
END $$;

-- Lock these jobs, a family and all that stand above it. A worker that settles some of them locks them in an order of its
-- own, and then those above: whoever has to wait here for long lets go of all, so that the worker gets them, and begins anew.
CREATE FUNCTION workerctl.lock_family(family bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    FOR attempt IN 1 .. 40 LOOP
        BEGIN
            PERFORM set_config('lock_timeout', CASE WHEN attempt < 40 THEN '100ms' ELSE '4s' END, true);
            PERFORM 1 FROM workerctl.live WHERE id = ANY (family) ORDER BY id DESC FOR UPDATE;
            PERFORM set_config('lock_timeout', '4s', true);
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            IF attempt = 40 THEN
                RAISE;
            END IF;
        END;
    END LOOP;
END $$;

-- Cancel jobs and everything below them. Pending ones end now; running ones are asked, and end when their worker has
-- stopped them; waiting ones end `cancelled` with their last child. Returns how many were ended or asked. Where there are
-- more than `most` it is these jobs alone, and what stands below them is left to `sweep_on`: it may begin until then.
CREATE FUNCTION workerctl.cancel(ids bigint[], most integer DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql
SET enable_seqscan = off SET jit = off SET lock_timeout = '4s' AS $$
DECLARE
    whole bigint[];
BEGIN
    PERFORM workerctl.lock_families(ids);
    DELETE FROM workerctl.sweep s  -- a retry that was under way below
     WHERE s.redo AND EXISTS (SELECT FROM workerctl.line_of(ARRAY[s.job_id]) o WHERE o.id = ANY (ids));
    whole := ARRAY(
        WITH RECURSIVE family AS (
            SELECT l.id FROM workerctl.live l WHERE l.id = ANY (ids)
            UNION
            SELECT l.id FROM workerctl.live l JOIN family f ON l.parent_id = f.id
        )
        SELECT id FROM family LIMIT most + 1);
    RETURN workerctl.cancel_each(CASE WHEN cardinality(whole) > most THEN ids ELSE whole END, NULL);
END $$;

-- Cancel these jobs themselves, and note the batches among them that have other children, which are next. `above` is the
-- sweep that came by them. All rows are locked at once: each transaction does this a single time.
CREATE FUNCTION workerctl.cancel_each(ids bigint[], above workerctl.sweep) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    found bigint[];
    pending jsonb;
    keys text[];
    freed text;
    complete bigint[];
BEGIN
    PERFORM workerctl.lock_family(ids || workerctl.lines_of(ids));
    found := ARRAY(SELECT l.id FROM workerctl.live l WHERE l.id = ANY (ids));  -- without those that have ended meanwhile
    UPDATE workerctl.live SET cancel_asked_at = now()
     WHERE id = ANY (found) AND status <> 'pending' AND cancel_asked_at IS NULL;
    SELECT jsonb_agg(jsonb_build_object('id', l.id, 'status', 'cancelled', 'error', 'cancelled by request'))
      INTO pending
      FROM workerctl.live l WHERE l.id = ANY (found) AND l.status = 'pending';
    IF pending IS NOT NULL THEN
        keys := ARRAY(SELECT DISTINCT k FROM workerctl.live l, unnest(l.limit_keys) AS k
                       WHERE l.id = ANY (found) AND l.status = 'pending' AND NOT l.held);
        DELETE FROM workerctl.hold h  -- nobody lets them in meanwhile: their rows are locked here
         WHERE (h.key, h.rank, h.job_id) IN (
               SELECT o.key, o.rank, o.job_id
                 FROM workerctl.live l
                CROSS JOIN unnest(l.limit_keys) AS k
                 JOIN workerctl.hold o ON o.key = k AND o.rank = l.rank AND o.job_id = l.id
                WHERE l.id = ANY (found) AND l.held);
        PERFORM workerctl.finish(pending);
        FOREACH freed IN ARRAY keys LOOP  -- who was let in and leaves makes room for the next; only tried, as rows are locked here
            IF pg_try_advisory_xact_lock(workerctl.key_lock(freed)) THEN
                PERFORM workerctl.let_in(freed);
                PERFORM workerctl.ring();
            END IF;
        END LOOP;
    END IF;
    INSERT INTO workerctl.sweep (job_id, asked_of, redo, at)
    SELECT l.id, coalesce(above.asked_of, l.id), false, coalesce(above.at, now())
      FROM workerctl.live l
     WHERE l.id = ANY (found) AND l.status = 'waiting'
       AND EXISTS (SELECT FROM workerctl.live c WHERE c.parent_id = l.id AND c.cancel_asked_at IS NULL)
        ON CONFLICT DO NOTHING;
    complete := ARRAY(  -- only a retry, which this ends, kept them waiting
        SELECT l.id FROM workerctl.live l
         WHERE l.id = ANY (found) AND l.status = 'waiting' AND NOT EXISTS (SELECT FROM workerctl.live c WHERE c.parent_id = l.id));
    IF complete <> '{}' THEN
        PERFORM workerctl.count_into_parents(complete, array_fill(NULL::workerctl.job_status, ARRAY[cardinality(complete)]));
    END IF;
    RETURN cardinality(found);
END $$;

-- Try an ended job again, with its failures forgiven and its attempt number kept: a batch redoes the jobs below it that did
-- not succeed; a pending job that waits for its next attempt is due now. A child takes its ended parents back to
-- `waiting`. Returns how many jobs will run; 0 where there was nothing to redo. With `most` it is so many children of a
-- batch at most, and the rest is left to `sweep_on`; it does not end before. Raises WQ005 for one of a batch that is being
-- cancelled.
CREATE FUNCTION workerctl.retry(job_id bigint, most integer DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SET enable_seqscan = off SET jit = off SET lock_timeout = '4s' AS $$
#variable_conflict use_column
DECLARE
    job record;
    cancelled bigint;
    step record;
    redone bigint := 0;
BEGIN
    PERFORM workerctl.lock_families(ARRAY[retry.job_id]);
    UPDATE workerctl.live l SET run_at = now(), rank = workerctl.rank_of(now(), l.priority)
     WHERE l.id = retry.job_id AND l.status = 'pending' AND l.run_at > now();
    IF FOUND THEN
        PERFORM workerctl.ring();
        RETURN 1;
    END IF;
    SELECT s.job_id INTO cancelled
      FROM workerctl.line_of(ARRAY[retry.job_id]) o JOIN workerctl.sweep s ON s.job_id = o.id
     WHERE o.is_live AND NOT s.redo LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'job % is still being cancelled', cancelled USING ERRCODE = 'WQ005', HINT = 'try again once it has ended';
    END IF;
    SELECT * INTO job FROM workerctl.line_of(ARRAY[retry.job_id]) o WHERE o.id = retry.job_id;
    IF job.is_batch THEN
        INSERT INTO workerctl.sweep (job_id, asked_of, redo) VALUES (retry.job_id, retry.job_id, true)
            ON CONFLICT ON CONSTRAINT sweep_pkey DO UPDATE SET asked_of = excluded.asked_of, redo = true, after = -1, at = now();
        LOOP
            SELECT * INTO step FROM workerctl.sweep_on(ARRAY[retry.job_id], most);
            redone := redone + step.jobs;
            IF most IS NOT NULL OR NOT step.more THEN
                RETURN redone;
            END IF;
        END LOOP;
    END IF;
    IF job.is_live OR job.status = 'succeeded' OR workerctl.is_taken(retry.job_id) THEN
        RETURN 0;
    END IF;
    redone := workerctl.revive(ARRAY[retry.job_id], 'pending');
    PERFORM workerctl.ring();
    RETURN redone;
END $$;

-- Whether an unfinished job has the key of this ended one, or of an ended batch that it would take back: another does its work.
CREATE FUNCTION workerctl.is_taken(ended bigint) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM workerctl.line_of(ARRAY[ended]) o JOIN workerctl.live l ON l.unique_key = o.unique_key
                    WHERE NOT o.is_live);
END $$;

-- Move ended siblings back to live work, without those whose key an unfinished job has; their parents, ended or waiting,
-- count so many ended children less. A user's stand up behind each other. Returns how many came back.
CREATE FUNCTION workerctl.revive(ids bigint[], new_status workerctl.job_status) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    moved record;
BEGIN
    INSERT INTO workerctl.lane (queue, kind, keyed)
    SELECT DISTINCT h.queue, h.kind, h.limit_keys IS NOT NULL FROM workerctl.history h WHERE h.id = ANY (ids) ORDER BY 1, 2, 3
        ON CONFLICT DO NOTHING;
    DELETE FROM workerctl.sweep s WHERE s.job_id = ANY (ids) AND NOT s.redo;  -- what is left of an earlier cancel
    WITH put AS (
        INSERT INTO workerctl.live (
            id, lane_id, rank, status, priority, max_attempts, attempt, child_index, parent_id, children_total,
            children_succeeded, children_dead, children_cancelled, run_at, created_at, unique_key, user_id, plan, payload,
            result, on_done, limit_names, limit_keys)
        SELECT h.id, a.id,
               CASE WHEN h.user_id IS NULL OR new_status = 'waiting' THEN workerctl.rank_of(now(), h.priority)
                    ELSE greatest(workerctl.rank_of(now(), h.priority) - a.turn_ms, workerctl.line_end(a.id, h.user_id, h.priority))
                         + a.turn_ms * row_number() OVER (PARTITION BY a.id, h.user_id, h.priority ORDER BY h.id) END,
               new_status, h.priority, h.max_attempts, h.attempt, h.child_index,
               h.parent_id, h.children_total, h.children_succeeded, h.children_dead, h.children_cancelled, now(), h.created_at,
               h.unique_key, h.user_id, h.plan, h.payload, CASE WHEN new_status = 'waiting' THEN h.result END, h.on_done,
               h.limit_names, h.limit_keys
          FROM workerctl.history h
          JOIN workerctl.lane a ON a.queue = h.queue AND a.kind = h.kind AND a.keyed = (h.limit_keys IS NOT NULL)
         WHERE h.id = ANY (ids)
         ORDER BY h.unique_key, h.id  -- two who do so wait for each other in one direction
            ON CONFLICT DO NOTHING
        RETURNING id
    ), gone AS (
        DELETE FROM workerctl.history h WHERE h.id = ANY (ARRAY(SELECT id FROM put)) RETURNING h.parent_id, h.status
    )
    SELECT count(*) AS jobs, min(g.parent_id) AS parent_id, count(*) FILTER (WHERE g.status = 'succeeded') AS succeeded,
           count(*) FILTER (WHERE g.status = 'dead') AS dead, count(*) FILTER (WHERE g.status = 'cancelled') AS cancelled
      INTO moved FROM gone g;
    WHILE moved.parent_id IS NOT NULL LOOP
        UPDATE workerctl.live p  -- where it is just ending, this waits for its end
           SET children_succeeded = p.children_succeeded - moved.succeeded, children_dead = p.children_dead - moved.dead,
               children_cancelled = p.children_cancelled - moved.cancelled, cancel_asked_at = NULL
         WHERE p.id = moved.parent_id;
        EXIT WHEN FOUND;
        IF workerctl.revive(ARRAY[moved.parent_id], 'waiting') = 0 THEN
            EXIT WHEN NOT EXISTS (SELECT FROM workerctl.history h WHERE h.id = moved.parent_id);  -- retention has removed it
            RAISE EXCEPTION 'another job has the unique key of batch %', moved.parent_id USING ERRCODE = 'unique_violation';
        END IF;
    END LOOP;
    RETURN moved.jobs;
END $$;

-- The next children, `most` at most, of one batch that is cancelled or retried, by the jobs that were named or, without
-- any, of those that nobody has gone on with for 10 seconds. The greatest id comes first, so that a batch is done with after all
-- that stand below it. Returns how many jobs were ended, asked or redone, and whether there is more to do.
CREATE FUNCTION workerctl.sweep_on(asked bigint[], most integer, OUT jobs bigint, OUT more boolean)
LANGUAGE plpgsql SET enable_seqscan = off SET jit = off SET lock_timeout = '4s' AS $$
DECLARE
    batch bigint := (SELECT max(s.job_id) FROM workerctl.sweeps_of(asked) s);
    sweep workerctl.sweep;
BEGIN
    jobs := 0;
    IF batch IS NOT NULL THEN
        PERFORM workerctl.lock_families(ARRAY[batch]);
        UPDATE workerctl.sweep s SET at = now() WHERE s.asked_of = ANY (asked);
        SELECT * INTO sweep FROM workerctl.sweep s WHERE s.job_id = batch;  -- what is left of it now
        IF FOUND THEN
            jobs := CASE WHEN sweep.redo THEN workerctl.redo_some(sweep, most) ELSE workerctl.cancel_some(sweep, most) END;
        END IF;
    END IF;
    more := EXISTS (SELECT FROM workerctl.sweeps_of(asked));
END $$;

CREATE FUNCTION workerctl.sweeps_of(asked bigint[]) RETURNS SETOF workerctl.sweep LANGUAGE sql STABLE AS $$
    SELECT * FROM workerctl.sweep s
     WHERE CASE WHEN asked IS NULL THEN s.at < now() - interval '10 seconds' ELSE s.asked_of = ANY (asked) END;
$$;

-- Note how far a sweep is; after its last child it is over, and its batch may end, which it was kept from.
CREATE FUNCTION workerctl.note_sweep(of_batch bigint, last integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF last IS NOT NULL THEN
        UPDATE workerctl.sweep s SET after = last WHERE s.job_id = of_batch;
    ELSE
        DELETE FROM workerctl.sweep s WHERE s.job_id = of_batch;
        PERFORM workerctl.count_into_parents(ARRAY[of_batch], '{NULL}');
    END IF;
END $$;

-- In the order in which they would be claimed, so that few of them still begin.
CREATE FUNCTION workerctl.cancel_some(sweep workerctl.sweep, most integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    next record;
BEGIN
    SELECT array_agg(f.id) AS ids, max(f.child_index) AS last INTO next
      FROM (SELECT l.id, l.child_index FROM workerctl.live l
             WHERE l.parent_id = sweep.job_id AND l.child_index > sweep.after ORDER BY l.child_index LIMIT most) f;
    PERFORM workerctl.note_sweep(sweep.job_id, next.last);
    RETURN CASE WHEN next.ids IS NULL THEN 0 ELSE workerctl.cancel_each(next.ids, sweep) END;
END $$;

-- Batches among the children come next, whatever became of them: one that succeeded, or waits, may have failed jobs below
-- it. One that is being cancelled stays so. Where another does the work, all is left as it is.
CREATE FUNCTION workerctl.redo_some(sweep workerctl.sweep, most integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    next record;
    taken boolean := workerctl.is_taken(sweep.job_id);
    redone bigint := 0;
BEGIN
    SELECT array_agg(f.id) FILTER (WHERE f.status <> 'succeeded' AND f.children_total = 0) AS jobs,
           array_agg(f.id) FILTER (WHERE f.children_total > 0) AS batches,
           max(f.child_index) AS last
      INTO next
      FROM ((SELECT h.id, h.child_index, h.status, h.children_total FROM workerctl.history h
              WHERE h.parent_id = sweep.job_id AND h.child_index > sweep.after AND NOT taken
              ORDER BY h.child_index LIMIT most)  -- of each, else all that are left are sorted
             UNION ALL
            (SELECT l.id, l.child_index, l.status, l.children_total FROM workerctl.live l
              WHERE l.parent_id = sweep.job_id AND l.child_index > sweep.after AND NOT taken
                AND l.status = 'waiting' AND l.cancel_asked_at IS NULL
              ORDER BY l.child_index LIMIT most)
             ORDER BY child_index LIMIT most) f;
    INSERT INTO workerctl.sweep (job_id, asked_of, redo, at)
    SELECT b, sweep.asked_of, true, sweep.at FROM unnest(next.batches) AS b
        ON CONFLICT (job_id) DO UPDATE SET asked_of = excluded.asked_of, redo = true, after = -1;
    IF next.jobs IS NOT NULL THEN
        redone := workerctl.revive(next.jobs, 'pending');
        PERFORM workerctl.ring();
    END IF;
    PERFORM workerctl.note_sweep(sweep.job_id, next.last);
    RETURN redone;
END $$;
