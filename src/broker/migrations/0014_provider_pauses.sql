-- A provider that is paused pauses the kinds that call it: their jobs stay where they are, instead of being handed out one
-- after the other to be told so.

-- The provider that jobs of this lane met while it was paused: while it is, they are not handed out.
ALTER TABLE workerctl.lane ADD COLUMN provider text;

-- For how many seconds a provider is still to be left alone; 0 where it is not.
CREATE FUNCTION workerctl.pause_left(of_provider text) RETURNS double precision LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT greatest(0, extract(epoch FROM p.paused_until - now()))::double precision
                       FROM workerctl.provider p WHERE p.name = of_provider), 0);
$$;

-- Jobs of this kind call this provider: from now on they wait while it is paused.
CREATE FUNCTION workerctl.wait_for_provider(of_kind text, new_provider text) RETURNS void LANGUAGE sql AS $$
    UPDATE workerctl.lane SET provider = new_provider
     WHERE id = ANY (ARRAY(SELECT a.id FROM workerctl.lane a
                            WHERE a.kind = of_kind AND a.provider IS DISTINCT FROM new_provider
                            ORDER BY a.id FOR UPDATE));
$$;

-- Pause a provider: for as long as it asked, else 2, 4, 8 ... 60 s with every strike in a row. Calls that were under way
-- when the pause began make it no longer. Jobs of `of_kind` wait for its end. Returns the seconds that are left.
DROP FUNCTION workerctl.pause_provider(text, double precision, text);
CREATE FUNCTION workerctl.pause_provider(provider text, asked_seconds double precision, why text, of_kind text DEFAULT NULL) RETURNS double precision
LANGUAGE sql AS $$
    SELECT workerctl.wait_for_provider(of_kind, provider) WHERE of_kind IS NOT NULL;
    INSERT INTO workerctl.provider AS p (name, paused_until, reason)
    VALUES (provider, now() + make_interval(secs => coalesce(asked_seconds, 2)), left(why, 500))
        ON CONFLICT (name) DO UPDATE
           SET strikes = CASE WHEN p.paused_until > now() THEN p.strikes ELSE least(p.strikes + 1, 20) END,
               paused_until = greatest(p.paused_until, CASE
                   WHEN asked_seconds IS NOT NULL THEN excluded.paused_until
                   WHEN p.paused_until > now() THEN p.paused_until
                   ELSE now() + make_interval(secs => least(60, 2 ^ least(p.strikes + 1, 20))) END),
               reason = excluded.reason
    RETURNING extract(epoch FROM paused_until - now())::double precision;
$$;

-- As before; a kind that meets a pause waits for its end from then on.
CREATE OR REPLACE FUNCTION workerctl.begin_call(
    job bigint, attempt_no integer, for_purpose text, job_kind text, to_provider text, to_model text, for_user text,
    for_plan text, estimate numeric, keyed boolean, budgets jsonb
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    made jsonb;
    pause record;
    call workerctl.spend;
    refusal text;
BEGIN
    IF NOT workerctl.holds_attempt(job, attempt_no) THEN
        RETURN '{"gone": true}';
    END IF;
    SELECT m.value INTO made FROM workerctl.memory m WHERE m.job_id = job AND m.key = 'made ' || for_purpose;
    IF FOUND THEN
        RETURN jsonb_build_object('made', made);
    END IF;
    SELECT extract(epoch FROM p.paused_until - now()) AS seconds, p.reason INTO pause
      FROM workerctl.provider p WHERE p.name = to_provider AND p.paused_until > now();
    IF FOUND THEN
        PERFORM workerctl.wait_for_provider(job_kind, to_provider);
        RETURN jsonb_build_object('paused_seconds', pause.seconds, 'reason', pause.reason);
    END IF;
    SELECT * INTO call FROM workerctl.spend s
     WHERE s.job_id = job AND s.purpose = for_purpose AND s.state = 'in flight' FOR UPDATE;
    IF FOUND AND (keyed OR EXISTS (SELECT FROM workerctl.memory m
                                    WHERE m.job_id = job AND m.key = 'request ' || for_purpose)) THEN
        UPDATE workerctl.spend SET attempt = attempt_no WHERE id = call.id;
        RETURN jsonb_build_object('id', call.id, 'key', call.call_key, 'resumed', true);
    END IF;
    UPDATE workerctl.spend SET state = 'unknown', ended_at = now() WHERE id = call.id;
    refusal := workerctl.over_budget(budgets, for_user, estimate);
    IF refusal IS NOT NULL THEN
        RETURN jsonb_build_object('refused', refusal);
    END IF;
    IF current_setting('synchronous_commit') IN ('off', 'local') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    INSERT INTO workerctl.spend (job_id, attempt, purpose, kind, provider, model, user_id, plan, cost)
    VALUES (job, attempt_no, for_purpose, job_kind, to_provider, to_model, for_user, for_plan, estimate)
    RETURNING * INTO call;
    RETURN jsonb_build_object('id', call.id, 'key', call.call_key, 'resumed', false);
END $$;

-- As before; jobs that wait for a provider are no suspects that anybody could run.
CREATE OR REPLACE FUNCTION workerctl.first_suspect(me workerctl.worker, in_hand integer) RETURNS workerctl.live
LANGUAGE plpgsql AS $$
DECLARE
    suspect workerctl.live;
BEGIN
    SELECT l.* INTO suspect
      FROM workerctl.live l JOIN workerctl.lane a ON a.id = l.lane_id
     WHERE l.status = 'pending' AND NOT l.held AND l.deaths > 0 AND l.run_at <= now()
       AND a.kind = ANY (me.kinds) AND NOT a.paused
       AND CASE WHEN a.provider IS NULL THEN true ELSE workerctl.pause_left(a.provider) = 0 END
       AND CASE WHEN me.queues IS NULL THEN a.queue <> ALL (me.excluded_queues) ELSE a.queue = ANY (me.queues) END
       AND coalesce((SELECT room.free FROM workerctl.kind_room(a.kind, '{}') room), 1) > 0  -- else nobody should wait for it
       AND (in_hand = 0 OR coalesce(l.reserved_by, me.id) = me.id
            OR NOT EXISTS (SELECT FROM workerctl.worker w WHERE w.id = l.reserved_by))
     ORDER BY (l.reserved_by = me.id) DESC NULLS LAST, l.rank, l.id
     LIMIT 1
       FOR UPDATE OF l SKIP LOCKED;
    IF suspect.id IS NOT NULL AND in_hand > 0 AND suspect.reserved_by IS DISTINCT FROM me.id THEN
        UPDATE workerctl.live SET reserved_by = me.id WHERE id = suspect.id;
    END IF;
    RETURN suspect;
END $$;

-- As before; lanes that wait for a provider are not looked into.
CREATE OR REPLACE FUNCTION workerctl.claim(me workerctl.worker, want integer, in_hand integer) RETURNS json
LANGUAGE plpgsql AS $$
DECLARE
    any_limits boolean := EXISTS (SELECT FROM workerctl.limits) OR EXISTS (SELECT FROM workerctl.rates);
    suspect workerctl.live;
    lanes integer[];
    share record;
    any_keyed boolean;
    picked bigint[] := '{}';
    jobs json;
    low jsonb := workerctl.low_water();
    stepped bigint;
BEGIN
    IF EXISTS (SELECT FROM workerctl.live WHERE status = 'pending' AND NOT held AND deaths > 0) THEN
        suspect := workerctl.first_suspect(me, in_hand);
        IF suspect.id IS NOT NULL AND in_hand > 0 THEN
            RETURN NULL;
        END IF;
        IF suspect.id IS NOT NULL AND workerctl.admit_suspect(suspect) THEN
            picked := ARRAY[suspect.id];
            want := 0;
        END IF;
    END IF;
    stepped := workerctl.stepped_over();
    LOOP
        lanes := ARRAY(
            SELECT a.id FROM workerctl.lane a
             CROSS JOIN LATERAL (  -- LIMIT keeps the planner from reading every pending job instead of one per lane
                   SELECT l.id FROM workerctl.live l
                    WHERE l.lane_id = a.id AND l.status = 'pending' AND NOT l.held AND l.deaths = 0 AND l.run_at <= now()
                      AND l.rank >= workerctl.lowest(low, a.id)
                    ORDER BY l.rank, l.id LIMIT 1) due
             WHERE a.kind = ANY (me.kinds) AND NOT a.paused
               AND CASE WHEN a.provider IS NULL THEN true ELSE workerctl.pause_left(a.provider) = 0 END
               AND CASE WHEN me.queues IS NULL THEN a.queue <> ALL (me.excluded_queues) ELSE a.queue = ANY (me.queues) END
               AND CASE WHEN a.batch_wait > 0 THEN workerctl.ripe_in(a) = 0 ELSE true END);
        EXIT WHEN lanes <> '{}' OR low IS NULL;
        low := NULL;  -- nothing stands above the low water: look below
    END LOOP;
    IF low IS NULL AND workerctl.stepped_over() - stepped > 1000 THEN
        low := jsonb_build_object('until', extract(epoch FROM clock_timestamp()) + 2);
    END IF;
    IF cardinality(lanes) = 1 AND NOT any_limits THEN
        picked := picked || workerctl.pick(lanes[1], want, low);
    ELSIF lanes <> '{}' THEN
        FOR look IN 1 .. 4 LOOP  -- again where all that stood in front went out of sight, for want of seats of its keys
            any_keyed := false;
            FOR share IN SELECT * FROM workerctl.share_out(lanes, want, any_limits, low) LOOP
                any_keyed := any_keyed OR (share.lane).keyed;
                IF share.limited THEN
                    picked := workerctl.pick_limited(share.lane, share.jobs, picked, low);
                ELSE
                    picked := picked || workerctl.pick((share.lane).id, share.jobs, low);
                END IF;
            END LOOP;
            EXIT WHEN picked <> '{}' OR NOT any_keyed;
        END LOOP;
    END IF;
    IF picked = '{}' THEN
        RETURN NULL;
    END IF;
    WITH claimed AS (  -- each job as `Claimed` in broker/exchange.py: an array costs half of what an object does
        UPDATE workerctl.live l
           SET status = 'running', worker_id = me.id, reserved_by = NULL, attempt = l.attempt + 1, started_at = clock_timestamp()
          FROM workerctl.lane a
         WHERE l.id = ANY (picked) AND a.id = l.lane_id
        RETURNING l.rank, l.id, json_build_array(
            l.id, a.kind, a.queue, l.attempt, l.failures, l.deaths, l.max_attempts, l.priority, l.user_id, l.plan,
            l.parent_id, l.created_at, l.payload, date_part('epoch', l.started_at - l.run_at)) AS job
    )
    SELECT json_agg(c.job ORDER BY c.rank, c.id) INTO jobs FROM claimed c;
    IF low IS NOT NULL THEN
        low := low || (SELECT jsonb_object_agg(f.lane_id::text, f.rank)
                         FROM (SELECT l.lane_id, min(l.rank) AS rank FROM workerctl.live l
                                WHERE l.id = ANY (picked) AND l.deaths = 0 GROUP BY l.lane_id) f);
        IF low IS NOT NULL THEN
            PERFORM set_config('workerctl.low_water', low::text, false);
        END IF;
    END IF;
    RETURN jobs;
END $$;
