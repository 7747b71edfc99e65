-- What a worker says and hears: one call settles what ended, reports progress, renews the lease and claims more.
-- Planner settings stand at `exchange` alone and hold for all it calls; at each function they cost 35 us a call.

-- Put running jobs of one worker back: `again` is an array of {id, attempt, failed, delay_seconds, error, keeps_place}. A
-- failed attempt counts against max_attempts, a snooze or a hand-back does not; a hand-back keeps its place in the line.
-- Returns the ids that matched.
CREATE FUNCTION workerctl.return_jobs(me workerctl.worker, again jsonb) RETURNS bigint[]
LANGUAGE plpgsql AS $$
DECLARE
    returned record;
    unwanted jsonb;
BEGIN
    WITH outcome AS MATERIALIZED (
        SELECT r.id, r.attempt, coalesce(r.failed, false) AS failed, coalesce(r.delay_seconds, 0) AS delay_seconds, r.error,
               coalesce(r.keeps_place, false) AS keeps_place
          FROM jsonb_to_recordset(again)
                   AS r(id bigint, attempt integer, failed boolean, delay_seconds double precision, error text, keeps_place boolean)
    ), put_back AS (
        UPDATE workerctl.live l
           SET status = 'pending', worker_id = NULL, started_at = NULL, progress_done = NULL, progress_total = NULL,
               failures = l.failures + o.failed::integer, error = coalesce(o.error, l.error),
               run_at = CASE WHEN o.keeps_place THEN l.run_at ELSE now() + make_interval(secs => o.delay_seconds) END,
               rank = CASE WHEN o.keeps_place THEN l.rank
                           ELSE workerctl.place_of(now() + make_interval(secs => o.delay_seconds), l.priority) END
          FROM outcome o
         WHERE l.id = ANY (ARRAY(SELECT id FROM outcome)) AND l.id = o.id AND l.attempt = o.attempt
           AND l.worker_id IS NOT DISTINCT FROM me.id
        RETURNING l.id, o.delay_seconds, l.cancel_asked_at
    )
    SELECT array_agg(p.id) AS ids,
           coalesce(bool_or(make_interval(secs => p.delay_seconds) <= workerctl.agents_look()), false) AS near,
           array_agg(p.id) FILTER (WHERE p.cancel_asked_at IS NOT NULL) AS unwanted
      INTO returned FROM put_back p;
    IF returned.unwanted IS NOT NULL THEN  -- it was asked while the attempt ended: there is no next one
        SELECT jsonb_agg(jsonb_build_object('id', u, 'status', 'cancelled', 'error', 'cancelled by request'))
          INTO unwanted FROM unnest(returned.unwanted) AS u;
        PERFORM workerctl.finish(unwanted);
    END IF;
    IF returned.near THEN
        PERFORM workerctl.ring();
    END IF;
    RETURN coalesce(returned.ids, '{}');
END $$;

-- Make one running job the waiting parent of `children` (job specs). It waits for those that come to be: one whose unique
-- key an unfinished job has does not, and a parent without any is done. Where that job waits for this one, or is it, nothing could
-- ever end: SQLSTATE 22023. Returns whether the job was still this worker's.
CREATE FUNCTION workerctl.await_children(
    me workerctl.worker, job bigint, attempt_no integer, outcome jsonb, next_job jsonb, children jsonb
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    made integer;
    unwanted boolean;
    above bigint;
BEGIN
    SELECT l.cancel_asked_at IS NOT NULL INTO unwanted
      FROM workerctl.live l WHERE l.id = job AND l.attempt = attempt_no AND l.worker_id = me.id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF unwanted THEN  -- it was asked while the attempt ended: no child begins
        PERFORM workerctl.finish(jsonb_build_array(jsonb_build_object(
            'id', job, 'attempt', attempt_no, 'status', 'cancelled', 'result', outcome, 'error', 'cancelled by request')), me);
        RETURN true;
    END IF;
    IF children @? '$[*].unique_key' THEN
        SELECT l.id INTO above FROM jsonb_to_recordset(children) AS c(unique_key text) JOIN workerctl.live l USING (unique_key)
          WHERE l.id = ANY (workerctl.lines_of(ARRAY[job])) LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'a cycle of batches: a child has the unique_key of job %, which would wait for it', above
                USING ERRCODE = '22023';
        END IF;
    END IF;
    PERFORM workerctl.insert_jobs(children, job);
    SELECT count(*) INTO made FROM workerctl.live l WHERE l.parent_id = job;
    IF made = 0 THEN
        PERFORM workerctl.finish(jsonb_build_array(jsonb_build_object(
            'id', job, 'attempt', attempt_no, 'status', 'succeeded', 'result', outcome)), me);
        IF next_job IS NOT NULL THEN
            PERFORM workerctl.insert_jobs(jsonb_build_array(next_job));
        END IF;
        RETURN true;
    END IF;
    UPDATE workerctl.live l
       SET status = 'waiting', worker_id = NULL, result = outcome, on_done = next_job, children_total = made,
           progress_done = NULL, progress_total = NULL
     WHERE l.id = job;
    RETURN true;
END $$;

-- The first suspect that this worker may run. With empty hands it is picked, alone; else it is reserved, and the worker
-- claims nothing more until its hands are empty, but not where half of the workers do so, or run a suspect, already. A
-- reservation of a worker that is gone counts for nothing.
CREATE FUNCTION workerctl.first_suspect(me workerctl.worker, in_hand integer) RETURNS workerctl.live
LANGUAGE plpgsql AS $$
DECLARE
    suspect workerctl.live;
    may_reserve boolean := in_hand > 0 AND (
        SELECT count(*)
          FROM (SELECT l.worker_id FROM workerctl.live l
                 WHERE l.worker_id = ANY (ARRAY(SELECT w.id FROM workerctl.worker w)) AND l.deaths > 0
                 UNION
                SELECT w.id FROM workerctl.live l JOIN workerctl.worker w ON w.id = l.reserved_by
                 WHERE l.status = 'pending' AND NOT l.held AND l.deaths > 0) busy
    ) < greatest(1, (SELECT count(*) FROM workerctl.worker) / 2);
BEGIN
    SELECT l.* INTO suspect
      FROM workerctl.live l JOIN workerctl.lane a ON a.id = l.lane_id
     WHERE l.status = 'pending' AND NOT l.held AND l.deaths > 0 AND (l.rank < workerctl.later() OR l.run_at <= now())
       AND a.kind = ANY (me.kinds) AND NOT a.paused
       AND CASE WHEN a.provider IS NULL THEN true ELSE workerctl.pause_left(a.provider) = 0 END
       AND CASE WHEN me.queues IS NULL THEN a.queue <> ALL (me.excluded_queues) ELSE a.queue = ANY (me.queues) END
       AND coalesce((SELECT room.free FROM workerctl.kind_room(a.kind, '{}') room), 1) > 0  -- else nobody should wait for it
       AND (in_hand = 0 OR l.reserved_by = me.id OR may_reserve AND (
            l.reserved_by IS NULL OR NOT EXISTS (SELECT FROM workerctl.worker w WHERE w.id = l.reserved_by)))
     ORDER BY (l.reserved_by = me.id) DESC NULLS LAST, l.rank, l.id
     LIMIT 1
       FOR UPDATE OF l SKIP LOCKED;
    IF suspect.id IS NOT NULL AND in_hand > 0 AND suspect.reserved_by IS DISTINCT FROM me.id THEN
        UPDATE workerctl.live SET reserved_by = me.id WHERE id = suspect.id;
    END IF;
    RETURN suspect;
END $$;

-- Which suspect to hand out: NULL where there is none to mind, nothing where the hands are to be emptied first.
CREATE FUNCTION workerctl.pick_suspect(me workerctl.worker, in_hand integer) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    suspect workerctl.live := workerctl.first_suspect(me, in_hand);
BEGIN
    IF suspect.id IS NOT NULL AND in_hand > 0 THEN
        RETURN '{}';
    ELSIF suspect.id IS NOT NULL AND workerctl.admit_suspect(suspect) THEN
        RETURN ARRAY[suspect.id];
    END IF;
    RETURN NULL;
END $$;

-- The low water of lanes, {lane: rank}: no job below was seen a moment ago, so a look begins there. While somebody's old
-- snapshot keeps dead index entries, every look would step over all of them. It is remembered in the session for 2 s from
-- a full look, so that what comes below later (a priority, a retry) waits no longer; a pooler may share it, it is a fact
-- about the lanes. NULL where looks are cheap: nothing is remembered then. Here: where a look at this lane begins.
CREATE FUNCTION workerctl.lowest(low jsonb, lane integer) RETURNS bigint LANGUAGE sql IMMUTABLE
RETURN coalesce((low ->> lane::text)::bigint, -9223372036854775808);

-- A lane's kind and queue as two items of a JSON array.
CREATE FUNCTION workerctl.label(lane workerctl.lane) RETURNS text LANGUAGE sql STABLE
RETURN concat_ws(',', to_json(lane.kind), to_json(lane.queue));

-- Index entries that this transaction's looks have stepped over, dead ones included.
CREATE FUNCTION workerctl.stepped_over() RETURNS bigint LANGUAGE sql VOLATILE
RETURN pg_stat_get_xact_tuples_returned('workerctl.live_claim'::regclass);

-- Seconds until a lane whose kind gathers batches may be claimed from: 0 once a whole batch waits, or its first job has
-- waited for long enough. Reads as many index entries as a batch has.
CREATE FUNCTION workerctl.ripe_in(lane workerctl.lane) RETURNS double precision LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN count(*) >= lane.batch THEN 0
                ELSE greatest(0, lane.batch_wait - extract(epoch FROM now() - min(f.run_at))::double precision) END
      FROM (SELECT l.run_at FROM workerctl.live l
             WHERE l.lane_id = lane.id AND l.status = 'pending' AND NOT l.held AND l.deaths = 0
               AND l.rank < workerctl.later()
             ORDER BY l.rank, l.id LIMIT lane.batch) f;
$$;

-- How many jobs each of these lanes gives, so that together they are the first `want` by rank: what a worker would get
-- from one queue. Lanes without room are left out; the room is looked at without a lock and counted again under it.
CREATE FUNCTION workerctl.share_out(
    lanes integer[], want integer, any_limits boolean, low jsonb, OUT lane workerctl.lane, OUT limited boolean, OUT jobs bigint
) RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    SELECT a, head.limited, CASE WHEN a.batch > 1 THEN a.batch ELSE head.jobs END
      FROM (SELECT f.lane_id, bool_or(f.limited) AS limited, count(*) AS jobs, min(f.rank) AS first_rank
              FROM (SELECT a.id AS lane_id, h.rank, a.keyed OR room.names IS NOT NULL AS limited
                      FROM workerctl.lane a
                      LEFT JOIN LATERAL workerctl.kind_room(a.kind, '{}') room ON any_limits
                     CROSS JOIN LATERAL (
                           SELECT l.rank FROM workerctl.live l
                            WHERE l.lane_id = a.id AND l.status = 'pending' AND NOT l.held AND l.deaths = 0
                              AND l.rank >= workerctl.lowest(low, a.id) AND l.rank < workerctl.later()
                            ORDER BY l.rank, l.id
                            LIMIT greatest(0, least(CASE WHEN a.batch > 1 THEN 1 ELSE want END, room.free))) h
                     WHERE a.id = ANY (lanes)
                     ORDER BY h.rank
                     LIMIT want) f
             GROUP BY f.lane_id) head
      JOIN workerctl.lane a ON a.id = head.lane_id
     ORDER BY head.first_rank;
END $$;

-- Up to `want` seats' worth of jobs of several lanes, or of limited ones.
CREATE FUNCTION workerctl.pick_shares(lanes integer[], want integer, any_limits boolean, low jsonb) RETURNS bigint[]
LANGUAGE plpgsql AS $$
DECLARE
    share record;
    any_keyed boolean;
    picked bigint[] := '{}';
BEGIN
    FOR look IN 1 .. 4 LOOP  -- again where all that stood in front went out of sight, for want of seats of its keys
        any_keyed := false;
        FOR share IN SELECT * FROM workerctl.share_out(lanes, want, any_limits, low) LOOP
            any_keyed := any_keyed OR (share.lane).keyed;
            picked := workerctl.pick_of_lane(share.lane, share.limited, share.jobs, picked, low);
        END LOOP;
        EXIT WHEN picked <> '{}' OR NOT any_keyed;
    END LOOP;
    RETURN picked;
END $$;

-- A worker has connected (again): its session, and [id, attempt] of what it holds. Waits for a statement of an earlier
-- connection that is still under way, and shuts out one that arrives after this. Without such a worker the session is null;
-- in a database restored from a dump another may have been given its id.
CREATE FUNCTION workerctl.resume(worker_id bigint, incarnation text) RETURNS json LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    new_session integer;
BEGIN
    UPDATE workerctl.worker w SET session = w.session + 1
     WHERE w.id = resume.worker_id AND w.incarnation = resume.incarnation RETURNING w.session INTO new_session;
    RETURN json_build_object('session', new_session, 'claims', coalesce(
        (SELECT json_agg(json_build_array(l.id, l.attempt)) FROM workerctl.live l
          WHERE l.worker_id = resume.worker_id AND new_session IS NOT NULL), '[]'));
END $$;

-- What a worker says: {renew_seconds?, firsts?, ended?, again?, parents?, follow_ups?, progress?, logs?, stats?}; `firsts`,
-- as `finish` takes them, is the text of an array, which is read ten times as fast as JSON's. Returns the ids whose
-- settlement touched nothing.
CREATE FUNCTION workerctl.hear(me workerctl.worker, said jsonb) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    matched bigint[] := '{}';
    firsts bigint[] := (said ->> 'firsts')::bigint[];
    parent record;
    specs jsonb;
BEGIN
    IF said ? 'renew_seconds' THEN
        UPDATE workerctl.worker w
           SET lease_until = now() + make_interval(secs => (said ->> 'renew_seconds')::double precision)
         WHERE w.id = me.id;
    END IF;
    IF said ?| '{again,parents}' THEN  -- more than once something may end here, and lock batches that others come to from below
        PERFORM workerctl.lock_lines(firsts || ARRAY(
            SELECT r.id FROM jsonb_to_recordset(coalesce(said -> 'ended', '[]') || coalesce(said -> 'again', '[]')
                                                || coalesce(said -> 'parents', '[]')) AS r(id bigint)));
    END IF;
    IF said ?| '{firsts,ended}' THEN
        matched := workerctl.finish(said -> 'ended', me, firsts);
    END IF;
    IF said ? 'again' THEN
        matched := matched || workerctl.return_jobs(me, said -> 'again');
    END IF;
    IF said ? 'parents' THEN
        FOR parent IN SELECT * FROM jsonb_to_recordset(said -> 'parents')
                         AS r(id bigint, attempt integer, result jsonb, on_done jsonb, children jsonb) LOOP
            IF workerctl.await_children(me, parent.id, parent.attempt, parent.result, parent.on_done, parent.children) THEN
                matched := matched || parent.id;
            END IF;
        END LOOP;
    END IF;
    IF said ? 'follow_ups' THEN  -- what handlers enqueued, only where their settlement counted
        SELECT jsonb_agg(r.spec) INTO specs
          FROM jsonb_to_recordset(said -> 'follow_ups') AS r(id bigint, spec jsonb)
         WHERE r.id = ANY (matched);
        IF specs IS NOT NULL THEN
            PERFORM workerctl.insert_jobs(specs);
        END IF;
    END IF;
    IF said ? 'logs' THEN
        PERFORM workerctl.insert_jobs(said -> 'logs');
    END IF;
    IF said ? 'stats' THEN
        PERFORM workerctl.count_runs(said -> 'stats');
    END IF;
    IF said ? 'progress' THEN
        UPDATE workerctl.live l
           SET progress_done = r.done, progress_total = r.total
          FROM jsonb_to_recordset(said -> 'progress') AS r(id bigint, attempt integer, done bigint, total bigint)
         WHERE l.id = ANY (ARRAY(SELECT p.id FROM jsonb_to_recordset(said -> 'progress') AS p(id bigint)))
           AND l.id = r.id AND l.attempt = r.attempt AND l.worker_id IS NOT DISTINCT FROM me.id AND r.done BETWEEN 0 AND r.total;
    END IF;
    IF matched <> '{}' AND EXISTS (SELECT FROM workerctl.seat) THEN
        PERFORM workerctl.vacate(matched);
    END IF;
    IF cardinality(matched) < coalesce(cardinality(firsts), 0) + coalesce(jsonb_array_length(said -> 'ended'), 0)
            + coalesce(jsonb_array_length(said -> 'again'), 0) + coalesce(jsonb_array_length(said -> 'parents'), 0) THEN
        RETURN ARRAY(SELECT r.id FROM jsonb_to_recordset(
                         coalesce(said -> 'ended', '[]') || coalesce(said -> 'again', '[]')
                         || coalesce(said -> 'parents', '[]')) AS r(id bigint) WHERE r.id <> ALL (matched)
                     UNION ALL
                     SELECT f FROM unnest(firsts) AS f WHERE f <> ALL (matched));
    END IF;
    RETURN NULL;
END $$;

-- One round trip of a worker. `request`: {want, session?, in_hand?, warm?} and what it says; that is heard before up to `want`
-- seats' worth of due jobs are claimed for it in rank order over the lanes that it serves. A lane of a batch kind gives up
-- to that kind's batch of jobs for one seat.
-- Reply: {gone: true} where this worker has been given up (its lease ended or its supervisor reported it dead) or has
-- connected anew since this was said, else
-- {lost: ids whose settlement touched nothing, cancel: ids in hand that somebody cancelled, claimed: jobs,
-- more: whether perhaps more than one was due}.
-- (Planning took a third of its time before the generic plans were forced; the setting holds for all it calls. A call of
-- another plpgsql function costs 3 % of the whole, so that what every claim does stands here.)
CREATE FUNCTION workerctl.exchange(worker_id bigint, request jsonb) RETURNS text
LANGUAGE plpgsql SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    now_holds record;
    me workerctl.worker;
    said jsonb := request - '{want,session,in_hand,warm}'::text[];
    lost bigint[];
    cancelled bigint[];
    want integer := coalesce((request ->> 'want')::integer, 0);
    low jsonb := nullif(current_setting('workerctl.low_water', true), '');
    stepped bigint;
    looked_later boolean := false;
    lanes integer[];  -- of the due jobs that stand first, two of each lane at most, in rank order
    labels text[];  -- and "kind","queue" of each,
    batches integer[];  -- and how many make a batch
    picked bigint[];
    claimed text;
BEGIN
    -- The row lock keeps a give-back of this worker from running in between. What else is asked here saves statements.
    SELECT w AS worker, EXISTS (SELECT FROM workerctl.limits) OR EXISTS (SELECT FROM workerctl.rates) AS limits,
           EXISTS (SELECT FROM workerctl.live WHERE status = 'pending' AND NOT held AND deaths > 0) AS suspects
      INTO now_holds
      FROM workerctl.worker w WHERE w.id = exchange.worker_id FOR UPDATE;
    me := now_holds.worker;
    IF me.id IS NULL OR (request ->> 'session')::integer <> me.session THEN
        RETURN '{"gone": true}';
    END IF;
    IF said <> '{}' THEN
        lost := workerctl.hear(me, said);
        IF said ? 'renew_seconds' THEN
            SELECT array_agg(l.id) INTO cancelled
              FROM workerctl.live l WHERE l.worker_id = me.id AND l.cancel_asked_at IS NOT NULL;
        END IF;
    END IF;
    IF want > 0 AND now_holds.suspects THEN
        picked := workerctl.pick_suspect(me, coalesce((request ->> 'in_hand')::integer, 0));
        SELECT ARRAY[a.id], ARRAY[workerctl.label(a)] INTO lanes, labels
          FROM workerctl.live l JOIN workerctl.lane a ON a.id = l.lane_id WHERE l.id = picked[1];
    END IF;
    IF picked IS NOT NULL THEN
        low := NULL;  -- where a suspect stands says nothing of its lane
    ELSIF want > 0 THEN
        IF (low ->> 'until')::double precision < extract(epoch FROM clock_timestamp()) THEN
            low := NULL;
        END IF;
        stepped := workerctl.stepped_over();
        LOOP
            SELECT coalesce(array_agg(f.id), '{}'), array_agg(f.label), array_agg(f.batch) INTO lanes, labels, batches
              FROM (SELECT a.id, workerctl.label(a) AS label, a.batch
                      FROM workerctl.lane a
                     CROSS JOIN LATERAL (  -- LIMIT keeps the planner from reading every pending job instead of two per lane
                           SELECT l.rank FROM workerctl.live l
                            WHERE l.lane_id = a.id AND l.status = 'pending' AND NOT l.held AND l.deaths = 0
                              AND l.rank >= workerctl.lowest(low, a.id) AND l.rank < workerctl.later()
                            ORDER BY l.rank, l.id LIMIT 2) due
                     WHERE a.kind = ANY (me.kinds) AND NOT a.paused
                       AND CASE WHEN a.provider IS NULL THEN true ELSE workerctl.pause_left(a.provider) = 0 END
                       AND CASE WHEN me.queues IS NULL THEN a.queue <> ALL (me.excluded_queues) ELSE a.queue = ANY (me.queues) END
                       AND CASE WHEN a.batch_wait > 0 THEN workerctl.ripe_in(a) = 0 ELSE true END
                     ORDER BY due.rank) f;
            EXIT WHEN lanes <> '{}' OR looked_later;
            IF low IS NULL THEN
                EXIT WHEN workerctl.bring_due() = 0;
                looked_later := true;
            END IF;
            low := NULL;  -- nothing stands above the low water: look below
        END LOOP;
        IF low IS NULL AND workerctl.stepped_over() - stepped > 1000 THEN
            low := jsonb_build_object('until', extract(epoch FROM clock_timestamp()) + 2);
        END IF;
        IF lanes <> '{}' AND (now_holds.limits OR want > 1 AND NOT lanes[1] = ALL (lanes)) THEN
            picked := workerctl.pick_shares(lanes, want, now_holds.limits, low);
        END IF;
    END IF;
    IF lanes = '{}' AND request ? 'warm' THEN  -- nothing is due: plan for no job what the first would wait for, 3 ms
        lanes := '{0}';
        picked := '{0}';
        PERFORM workerctl.finish(NULL, me, picked);
    END IF;
    IF lanes <> '{}' AND picked IS DISTINCT FROM '{}' THEN
        WITH claimed AS (  -- each as `Claimed` in broker/exchange.py; json_build_array would look up its types anew for each
            UPDATE workerctl.live l
               SET status = 'running', worker_id = me.id, reserved_by = NULL, attempt = l.attempt + 1, started_at = clock_timestamp()
             WHERE l.id = ANY (coalesce(picked, ARRAY(  -- of one lane without limits: picked here, which saves a statement
                   SELECT p.id FROM workerctl.live p
                    WHERE p.lane_id = lanes[1] AND p.status = 'pending' AND NOT p.held AND p.deaths = 0
                      AND p.rank >= workerctl.lowest(low, lanes[1]) AND p.rank < workerctl.later()
                    ORDER BY p.rank, p.id
                    LIMIT CASE WHEN batches[1] > 1 THEN batches[1] ELSE want END
                      FOR UPDATE SKIP LOCKED)))
            RETURNING l.lane_id, l.rank, l.id, concat_ws(
                ',', l.id, labels[array_position(lanes, l.lane_id)], l.attempt, l.failures, l.deaths, l.max_attempts, l.priority,
                coalesce(to_json(l.user_id)::text, 'null'), coalesce(to_json(l.plan)::text, 'null'),
                coalesce(l.parent_id::text, 'null'), to_json(l.created_at), l.payload,
                date_part('epoch', l.started_at - l.run_at)) AS job
        )
        SELECT '[[' || string_agg(c.job, '],[' ORDER BY c.rank, c.id) || ']]',
               CASE WHEN low IS NOT NULL THEN
                   (SELECT low || jsonb_object_agg(f.lane_id::text, f.rank)
                      FROM (SELECT r.lane_id, min(r.rank) AS rank FROM claimed r GROUP BY r.lane_id) f) END
          INTO claimed, low
          FROM claimed c;
        IF low IS NOT NULL THEN
            PERFORM set_config('workerctl.low_water', low::text, false);
        END IF;
    END IF;
    RETURN concat('{"lost":', coalesce(to_json(lost)::text, 'null'), ',"cancel":', coalesce(to_json(cancelled)::text, 'null'),
                  ',"claimed":', coalesce(claimed, 'null'),
                  ',"more":', to_json(coalesce(now_holds.suspects OR cardinality(lanes) > 1, true)), '}');
END $$;
