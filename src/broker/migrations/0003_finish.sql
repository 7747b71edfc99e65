-- The one way a job ends, and how a batch learns of it; cancel and retry, which users ask for.

-- End jobs: rows that match (id, attempt, holder) move to history, and are counted into their parents.
-- `outcomes` is an array of {id, attempt, status, result, error}; without an attempt any matches; without a status they
-- succeeded; without a holder only jobs that no worker holds match. `firsts` are jobs that succeeded at their first attempt
-- and have nothing to say, as most do: no outcome is to be read for each of them and joined to it, which is a tenth of an
-- exchange. `IS NOT DISTINCT FROM` keeps the planner from `live_running`, whose dead entries of this worker are as many as it
-- ran since the last vacuum. Returns the ids that matched.
CREATE FUNCTION workerctl.finish(outcomes jsonb, holder workerctl.worker DEFAULT NULL, firsts bigint[] DEFAULT NULL)
RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    settled record;
    ids bigint[] := '{}';
    parents bigint[];
    statuses workerctl.job_status[];
BEGIN
    IF firsts IS NOT NULL THEN
        WITH moved AS (
            DELETE FROM workerctl.live l
             USING workerctl.lane a
             WHERE l.id = ANY (firsts) AND l.attempt = 1 AND l.worker_id IS NOT DISTINCT FROM holder.id AND a.id = l.lane_id
            RETURNING l.id, l.parent_id, a.kind, a.queue, l.priority, l.max_attempts, l.failures, l.deaths, l.attempt, l.child_index,
                      l.children_total, l.children_succeeded, l.children_dead, l.children_cancelled, l.progress_done,
                      l.progress_total, l.run_at, l.created_at, l.started_at, l.unique_key, l.user_id, l.plan, l.payload, l.result,
                      l.on_done, l.limit_names, l.limit_keys
        ), kept AS (
            INSERT INTO workerctl.history (
                id, status, kind, queue, priority, max_attempts, failures, deaths, attempt, child_index, parent_id,
                children_total, children_succeeded, children_dead, children_cancelled, progress_done, progress_total,
                run_at, created_at, started_at, node, worker, unique_key, user_id, plan, payload, result, on_done,
                limit_names, limit_keys)
            SELECT m.id, 'succeeded', m.kind, m.queue, m.priority, m.max_attempts, m.failures, m.deaths, m.attempt,
                   m.child_index, m.parent_id, m.children_total, m.children_succeeded, m.children_dead,
                   m.children_cancelled, m.progress_done, m.progress_total, m.run_at, m.created_at, m.started_at,
                   holder.host, holder.pool || '/' || holder.slot, m.unique_key, m.user_id, m.plan, m.payload,
                   m.result, m.on_done, m.limit_names, m.limit_keys
              FROM moved m
        )
        SELECT coalesce(array_agg(m.id), '{}'), array_agg(m.parent_id) FILTER (WHERE m.parent_id IS NOT NULL),
               array_agg('succeeded'::workerctl.job_status) FILTER (WHERE m.parent_id IS NOT NULL)
          INTO ids, parents, statuses
          FROM moved m;
    END IF;
    IF outcomes IS NOT NULL THEN
        WITH outcome AS MATERIALIZED (
            SELECT * FROM jsonb_to_recordset(outcomes)
                       AS r(id bigint, attempt integer, status workerctl.job_status, result jsonb, error text)
        ), moved AS (
            DELETE FROM workerctl.live l
             USING outcome o, workerctl.lane a
             WHERE l.id = ANY (ARRAY(SELECT id FROM outcome)) AND l.id = o.id AND l.attempt = coalesce(o.attempt, l.attempt)
               AND l.worker_id IS NOT DISTINCT FROM holder.id AND a.id = l.lane_id
            RETURNING l.id, l.parent_id, coalesce(o.status, 'succeeded') AS final_status,  -- first, as they are read twice
                      a.kind, a.queue, l.priority, l.max_attempts, l.failures, l.deaths, l.attempt, l.child_index,
                      l.children_total, l.children_succeeded, l.children_dead, l.children_cancelled, l.progress_done, l.progress_total,
                      l.run_at, l.created_at, l.started_at, l.unique_key, l.user_id, l.plan, l.payload,
                      coalesce(o.result, l.result) AS final_result, o.error AS final_error, l.on_done, l.limit_names, l.limit_keys
        ), kept AS (
            INSERT INTO workerctl.history (
                id, status, kind, queue, priority, max_attempts, failures, deaths, attempt, child_index, parent_id,
                children_total, children_succeeded, children_dead, children_cancelled, progress_done, progress_total,
                run_at, created_at, started_at, node, worker, unique_key, user_id, plan, payload, result, error, on_done,
                limit_names, limit_keys)
            SELECT m.id, m.final_status, m.kind, m.queue, m.priority, m.max_attempts,
                   m.failures + (m.final_status = 'dead' AND holder.id IS NOT NULL)::integer, m.deaths, m.attempt,
                   m.child_index, m.parent_id, m.children_total, m.children_succeeded, m.children_dead,
                   m.children_cancelled, m.progress_done, m.progress_total, m.run_at, m.created_at, m.started_at,
                   holder.host, holder.pool || '/' || holder.slot, m.unique_key, m.user_id, m.plan, m.payload,
                   m.final_result, m.final_error, m.on_done, m.limit_names, m.limit_keys
              FROM moved m
        )
        SELECT array_agg(m.id) AS ids,
               array_agg(m.parent_id) FILTER (WHERE m.parent_id IS NOT NULL) AS parents,
               array_agg(m.final_status) FILTER (WHERE m.parent_id IS NOT NULL) AS statuses
          INTO settled
          FROM moved m;
        ids := ids || settled.ids;
        parents := parents || settled.parents;
        statuses := statuses || settled.statuses;
    END IF;
    IF parents IS NOT NULL THEN  -- once all of their children that end here have left: their rows are locked first
        PERFORM workerctl.count_into_parents(parents, statuses);
    END IF;
    RETURN ids;
END $$;

-- These live jobs and all that stand above them.
CREATE FUNCTION workerctl.lines_of(ids bigint[]) RETURNS bigint[] LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ARRAY(
        WITH RECURSIVE line AS (
            SELECT l.id, l.parent_id FROM workerctl.live l WHERE l.id = ANY (ids)
            UNION
            SELECT l.id, l.parent_id FROM line JOIN workerctl.live l ON l.id = line.parent_id
        )
        SELECT id FROM line);
END $$;

-- Count ended children into their parents, and end every parent whose last child this was, which counts into its own
-- parent in turn. Rows are locked from children to parents: a parent's id is the smaller one, so the greatest id comes
-- first, everywhere. All that stand above are locked at once, ended or not: who came to them one level after the other
-- would meet another who holds one of a higher level and waits for one of a lower.
CREATE FUNCTION workerctl.count_into_parents(parents bigint[], statuses workerctl.job_status[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    finished record;
BEGIN
    PERFORM 1 FROM workerctl.live WHERE id = ANY (workerctl.lines_of(parents)) ORDER BY id DESC FOR UPDATE;

    UPDATE workerctl.live p
       SET children_succeeded = p.children_succeeded + c.succeeded,
           children_dead = p.children_dead + c.dead,
           children_cancelled = p.children_cancelled + c.cancelled
      FROM (SELECT ended.parent_id,
                   count(*) FILTER (WHERE ended.status = 'succeeded') AS succeeded,
                   count(*) FILTER (WHERE ended.status = 'dead') AS dead,
                   count(*) FILTER (WHERE ended.status = 'cancelled') AS cancelled
              FROM unnest(parents, statuses) AS ended(parent_id, status)
             GROUP BY ended.parent_id) c
     WHERE p.id = ANY (parents) AND p.id = c.parent_id;

    SELECT jsonb_agg(jsonb_build_object(
               'id', p.id,
               'status', CASE WHEN p.cancel_asked_at IS NOT NULL OR p.children_cancelled = p.children_total THEN 'cancelled'
                              WHEN p.children_succeeded = 0 THEN 'dead'
                              ELSE 'succeeded' END,
               'error', CASE WHEN p.children_dead > 0
                             THEN p.children_dead || ' of ' || p.children_total || ' children failed' END)) AS outcomes,
           jsonb_agg(p.on_done) FILTER (WHERE p.on_done IS NOT NULL AND p.cancel_asked_at IS NULL
                                          AND p.children_succeeded > 0) AS next_jobs
      INTO finished
      FROM workerctl.live p
     WHERE p.id = ANY (parents) AND p.status = 'waiting'
       AND p.children_succeeded + p.children_dead + p.children_cancelled = p.children_total;
    IF finished.outcomes IS NOT NULL THEN
        PERFORM workerctl.finish(finished.outcomes);
    END IF;
    IF finished.next_jobs IS NOT NULL THEN
        PERFORM workerctl.insert_jobs(finished.next_jobs);
    END IF;
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
-- stopped them; waiting ones end `cancelled` with their last child. Returns how many were ended or asked.
CREATE FUNCTION workerctl.cancel(ids bigint[]) RETURNS bigint LANGUAGE plpgsql
SET enable_seqscan = off SET lock_timeout = '4s' AS $$
DECLARE
    whole bigint[];
    pending jsonb;
    keys text[];
    freed text;
BEGIN
    whole := ARRAY(
        WITH RECURSIVE family AS (
            SELECT l.id FROM workerctl.live l WHERE l.id = ANY (ids)
            UNION
            SELECT l.id FROM workerctl.live l JOIN family f ON l.parent_id = f.id
        )
        SELECT id FROM family);
    PERFORM workerctl.lock_family(whole || workerctl.lines_of(ids));
    whole := ARRAY(SELECT l.id FROM workerctl.live l WHERE l.id = ANY (whole));  -- without those that have ended meanwhile
    UPDATE workerctl.live SET cancel_asked_at = now()
     WHERE id = ANY (whole) AND status <> 'pending' AND cancel_asked_at IS NULL;
    SELECT jsonb_agg(jsonb_build_object('id', l.id, 'status', 'cancelled', 'error', 'cancelled by request'))
      INTO pending
      FROM workerctl.live l WHERE l.id = ANY (whole) AND l.status = 'pending';
    IF pending IS NOT NULL THEN
        keys := ARRAY(SELECT DISTINCT k FROM workerctl.live l, unnest(l.limit_keys) AS k
                       WHERE l.id = ANY (whole) AND l.status = 'pending' AND NOT l.held);
        DELETE FROM workerctl.hold h  -- nobody lets them in meanwhile: their rows are locked here
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

-- Try an ended job again, with its failures forgiven and its attempt number kept: a batch redoes the children that did
-- not succeed; a pending job that waits for its next attempt is due now. A child takes its ended parents back to
-- `waiting`. Returns how many jobs will run; 0 where there was nothing to redo.
CREATE FUNCTION workerctl.retry(job_id bigint) RETURNS bigint LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    ended workerctl.history;
    redone bigint := 0;
    child bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('workerctl retry', 0));  -- two of one family would meet in its parents
    UPDATE workerctl.live SET run_at = now(), rank = workerctl.rank_of(now(), priority)
     WHERE id = job_id AND status = 'pending' AND run_at > now();
    IF FOUND THEN
        PERFORM workerctl.ring();
        RETURN 1;
    END IF;
    FOR child IN SELECT h.id FROM workerctl.history h
                  WHERE h.parent_id = job_id AND h.status <> 'succeeded' ORDER BY h.id LOOP
        redone := redone + workerctl.retry(child);
    END LOOP;
    SELECT * INTO ended FROM workerctl.history h WHERE h.id = job_id LIMIT 1;
    IF redone > 0 OR NOT FOUND OR ended.status = 'succeeded' OR ended.children_total > 0
       OR EXISTS (  -- another does that work, or that of a batch which it would take back
           WITH RECURSIVE line AS (
               SELECT ended.parent_id, ended.unique_key
               UNION ALL
               SELECT h.parent_id, h.unique_key FROM line JOIN workerctl.history h ON h.id = line.parent_id
           )
           SELECT FROM line JOIN workerctl.live l ON l.unique_key = line.unique_key) THEN
        RETURN redone;
    END IF;
    PERFORM workerctl.revive(ended, 'pending');
    PERFORM workerctl.ring();
    RETURN 1;
END $$;

-- Move an ended job back to live work; its parents, ended or waiting, count one ended child less.
CREATE FUNCTION workerctl.revive(ended workerctl.history, new_status workerctl.job_status) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    parent workerctl.history;
BEGIN
    DELETE FROM workerctl.history h WHERE h.id = ended.id AND h.finished_at = ended.finished_at;
    IF NOT FOUND THEN
        RETURN;  -- somebody else revived it
    END IF;
    INSERT INTO workerctl.lane (queue, kind, keyed) VALUES (ended.queue, ended.kind, ended.limit_keys IS NOT NULL)
        ON CONFLICT DO NOTHING;
    INSERT INTO workerctl.live (
        id, lane_id, rank, status, priority, max_attempts, attempt, child_index, parent_id, children_total,
        children_succeeded, children_dead, children_cancelled, run_at, created_at, unique_key, user_id, plan, payload,
        result, on_done, limit_names, limit_keys)
    SELECT ended.id, a.id, workerctl.rank_of(now(), ended.priority), new_status, ended.priority, ended.max_attempts,
           ended.attempt, ended.child_index, ended.parent_id, ended.children_total, ended.children_succeeded,
           ended.children_dead, ended.children_cancelled, now(), ended.created_at, ended.unique_key, ended.user_id,
           ended.plan, ended.payload, CASE WHEN new_status = 'waiting' THEN ended.result END, ended.on_done,
           ended.limit_names, ended.limit_keys
      FROM workerctl.lane a
     WHERE a.queue = ended.queue AND a.kind = ended.kind AND a.keyed = (ended.limit_keys IS NOT NULL);
    WHILE ended.parent_id IS NOT NULL LOOP
        UPDATE workerctl.live p  -- where it is just ending, this waits for its end
           SET children_succeeded = p.children_succeeded - (ended.status = 'succeeded')::integer,
               children_dead = p.children_dead - (ended.status = 'dead')::integer,
               children_cancelled = p.children_cancelled - (ended.status = 'cancelled')::integer,
               cancel_asked_at = NULL
         WHERE p.id = ended.parent_id;
        EXIT WHEN FOUND;
        SELECT * INTO parent FROM workerctl.history h WHERE h.id = ended.parent_id LIMIT 1;
        EXIT WHEN NOT FOUND;
        PERFORM workerctl.revive(parent, 'waiting');
    END LOOP;
END $$;
