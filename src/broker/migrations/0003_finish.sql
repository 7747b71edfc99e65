-- The one way a job ends, and how a batch learns of it.

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

-- These jobs, live or ended, and all that stand above them.
CREATE FUNCTION workerctl.line_of(ids bigint[]) RETURNS TABLE (
    id bigint, parent_id bigint, status workerctl.job_status, is_live boolean, is_batch boolean, unique_key text
) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE line AS (
        SELECT NULL::bigint AS id, i AS parent_id, NULL::workerctl.job_status AS status, NULL::boolean AS is_live,
               NULL::integer AS children_total, NULL::text AS unique_key
          FROM unnest(ids) AS i
        UNION
        SELECT j.*
          FROM line
         CROSS JOIN LATERAL (
               SELECT l.id, l.parent_id, l.status, true, l.children_total, l.unique_key::text
                 FROM workerctl.live l WHERE l.id = line.parent_id
                UNION ALL
               SELECT h.id, h.parent_id, h.status, false, h.children_total, h.unique_key
                 FROM workerctl.history h WHERE h.id = line.parent_id) j
    )
    SELECT o.id, o.parent_id, o.status, o.is_live, o.children_total > 0, o.unique_key FROM line o WHERE o.id IS NOT NULL;
END $$;

-- Lock several jobs and all that stand above them in the order in which everybody does.
CREATE FUNCTION workerctl.lock_lines(ids bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(ids) > 1 THEN
        PERFORM 1 FROM workerctl.live WHERE id = ANY (workerctl.lines_of(ids)) ORDER BY id DESC FOR UPDATE;
    END IF;
END $$;

-- Count ended children into their parents, and end every parent whose last child this was, which counts into its own
-- parent in turn. Rows are locked from children to parents: a parent's id is the smaller one, so the greatest id comes
-- first, everywhere. All that stand above are locked at once, ended or not: who came to them one level after the other
-- would meet another who holds one of a higher level and waits for one of a lower.
CREATE FUNCTION workerctl.count_into_parents(parents bigint[], statuses workerctl.job_status[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    complete bigint[];
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

    complete := ARRAY(
        SELECT p.id FROM workerctl.live p
         WHERE p.id = ANY (parents) AND p.status = 'waiting'
           AND p.children_succeeded + p.children_dead + p.children_cancelled = p.children_total);
    IF complete = '{}' THEN
        RETURN;
    END IF;
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
     WHERE p.id = ANY (complete)
       AND NOT EXISTS (SELECT FROM workerctl.sweep s WHERE s.job_id = p.id AND s.redo);  -- more of its children come back
    IF finished.outcomes IS NOT NULL THEN
        IF finished.outcomes @? '$[*] ? (@.status == "dead")' THEN
            PERFORM workerctl.count_ends(jsonb_path_query_array(finished.outcomes, '$[*] ? (@.status == "dead")'));
        END IF;
        PERFORM workerctl.finish(finished.outcomes);
    END IF;
    IF finished.next_jobs IS NOT NULL THEN
        PERFORM workerctl.insert_jobs(finished.next_jobs);
    END IF;
END $$;
