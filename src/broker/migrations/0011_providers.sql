-- Calls of paid providers: what each cost whom, what may be spent, and when a provider wants to be left alone.

-- in flight: begun, and its outcome not known here; after a death the next attempt goes on with the same call.
-- paid: its result was made and kept. wasted: paid for a result that nobody can use. unknown: cut off at a provider that
-- cannot be asked again for the same call, so that it may have been paid for nothing.
CREATE TYPE workerctl.call_state AS ENUM ('in flight', 'paid', 'wasted', 'unknown');

CREATE TABLE workerctl.spend (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id        bigint NOT NULL,
    attempt       integer NOT NULL,  -- that went on with it last
    purpose       text NOT NULL CHECK (length(purpose) <= 100),  -- which of its job's calls this is
    call_key      uuid NOT NULL DEFAULT gen_random_uuid(),  -- the same for every try of one call: the idempotency key
    state         workerctl.call_state NOT NULL DEFAULT 'in flight',
    kind          text NOT NULL,
    provider      text NOT NULL,
    model         text NOT NULL,
    user_id       text,
    plan          text,
    cost          numeric(16, 6) NOT NULL CHECK (cost >= 0),  -- in flight: the estimate
    images        integer NOT NULL DEFAULT 0,
    input_tokens  bigint NOT NULL DEFAULT 0,
    output_tokens bigint NOT NULL DEFAULT 0,
    begun_at      timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz,
    summed        boolean NOT NULL DEFAULT false,  -- it is in spend_hour; set by the primary, so that no call locks a shared row
    CONSTRAINT a_call_that_ended_says_when CHECK ((state = 'in flight') = (ended_at IS NULL))
);
CREATE UNIQUE INDEX spend_in_flight ON workerctl.spend (job_id, purpose) WHERE state = 'in flight';
CREATE INDEX spend_begun ON workerctl.spend (begun_at);
CREATE INDEX spend_user ON workerctl.spend (user_id, begun_at) WHERE user_id IS NOT NULL;
CREATE INDEX spend_job ON workerctl.spend (job_id);
CREATE INDEX spend_not_summed ON workerctl.spend (begun_at) WHERE NOT summed;

-- Calls that ended, by the hour (UTC) in which they began; '' where a call has no plan.
CREATE TABLE workerctl.spend_hour (
    hour     timestamptz NOT NULL,
    provider text NOT NULL,
    model    text NOT NULL,
    plan     text NOT NULL,
    calls    bigint NOT NULL,
    cost     numeric NOT NULL,
    PRIMARY KEY (hour, provider, model, plan)
);

-- A provider that said "too many": the whole fleet leaves it alone until then. `strikes` in a row lengthen the pause.
CREATE TABLE workerctl.provider (
    name         text PRIMARY KEY CHECK (name <> '' AND length(name) <= 200),
    paused_until timestamptz NOT NULL,
    strikes      integer NOT NULL DEFAULT 1,
    reason       text NOT NULL
);

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
CREATE FUNCTION workerctl.pause_provider(
    provider text, asked_seconds double precision, why text, of_kind text DEFAULT NULL
) RETURNS double precision LANGUAGE sql AS $$
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

-- Begin a call of a provider, or go on with the one that an earlier attempt of the job began for the same purpose.
-- `budgets` is an array of {name, per_user, plan, model, provider, most_cost, most_calls, period_seconds}, those that this
-- call falls under. With `keyed` the provider can be asked for the same call again; else only where the job remembers
-- its `request PURPOSE`. Returns one of {gone}, {made: what the call made already}, {paused_seconds, reason},
-- {refused: why} and {id, key, resumed}.
CREATE FUNCTION workerctl.begin_call(
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
    VALUES (job, attempt_no, for_purpose, job_kind, to_provider, left(to_model, 200), for_user, for_plan, estimate)
    RETURNING * INTO call;
    RETURN jsonb_build_object('id', call.id, 'key', call.call_key, 'resumed', false);
END $$;

-- Add up, a bounded number at once, the calls that have ended. Returns how many.
CREATE FUNCTION workerctl.sum_spend() RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    added integer;
BEGIN
    WITH ended AS (
        UPDATE workerctl.spend s SET summed = true
         WHERE s.id = ANY (ARRAY(SELECT o.id FROM workerctl.spend o
                                  WHERE NOT o.summed AND o.state <> 'in flight'
                                  ORDER BY o.begun_at LIMIT 5000 FOR UPDATE SKIP LOCKED))
        RETURNING date_trunc('hour', s.begun_at, 'UTC') AS hour, s.provider, s.model, coalesce(s.plan, '') AS plan, s.cost
    ), hours AS (
        INSERT INTO workerctl.spend_hour AS h (hour, provider, model, plan, calls, cost)
        SELECT e.hour, e.provider, e.model, e.plan, count(*), sum(e.cost) FROM ended e GROUP BY 1, 2, 3, 4
            ON CONFLICT (hour, provider, model, plan) DO UPDATE
               SET calls = h.calls + excluded.calls, cost = h.cost + excluded.cost
        RETURNING 1
    )
    SELECT count(*) INTO added FROM ended;
    RETURN added;
END $$;

-- A call that was given up, and whose answer came all the same, may cost something else in the end.
CREATE FUNCTION workerctl.correct_spend_hour() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE workerctl.spend_hour h SET cost = h.cost + new.cost - old.cost
     WHERE h.hour = date_trunc('hour', old.begun_at, 'UTC') AND h.provider = old.provider AND h.model = old.model
       AND h.plan = coalesce(old.plan, '');
    RETURN NULL;
END $$;
CREATE TRIGGER correct_spend_hour AFTER UPDATE OF cost ON workerctl.spend
    FOR EACH ROW WHEN (old.summed AND new.cost <> old.cost) EXECUTE FUNCTION workerctl.correct_spend_hour();

-- How many calls began within these seconds, and what they cost: whole hours from their sums, and row by row what began
-- before the first whole hour and what is not in the sums yet.
CREATE FUNCTION workerctl.spent(
    seconds double precision, for_provider text, for_model text, for_plan text, OUT calls bigint, OUT cost numeric
) LANGUAGE sql STABLE AS $$
    WITH period AS (
        SELECT b.since, date_trunc('hour', b.since, 'UTC') + interval '1 hour' AS first_hour
          FROM (SELECT now() - make_interval(secs => seconds) AS since) b
    ), part AS (
        SELECT h.calls, h.cost FROM period p
          JOIN workerctl.spend_hour h ON h.hour >= p.first_hour
           AND h.provider = coalesce(for_provider, h.provider) AND h.model = coalesce(for_model, h.model)
           AND h.plan = coalesce(for_plan, h.plan)
        UNION ALL
        SELECT 1, s.cost FROM period p
          JOIN workerctl.spend s ON s.begun_at > p.since AND s.begun_at < p.first_hour AND s.summed
           AND s.provider = coalesce(for_provider, s.provider) AND s.model = coalesce(for_model, s.model)
           AND (for_plan IS NULL OR s.plan = for_plan)
        UNION ALL
        SELECT 1, s.cost FROM period p
          JOIN workerctl.spend s ON s.begun_at > p.since AND NOT s.summed
           AND s.provider = coalesce(for_provider, s.provider) AND s.model = coalesce(for_model, s.model)
           AND (for_plan IS NULL OR s.plan = for_plan)
    )
    SELECT coalesce(sum(part.calls), 0)::bigint, coalesce(sum(part.cost), 0) FROM part;
$$;

-- Which of these budgets one more call of this estimated cost would break, in words; NULL where none. Exact: counted under
-- each budget's lock, which the caller's transaction keeps.
CREATE FUNCTION workerctl.over_budget(budgets jsonb, for_user text, estimate numeric) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    budget record;
    spent record;
BEGIN
    FOR budget IN
        SELECT * FROM jsonb_to_recordset(budgets)
                   AS b(name text, per_user boolean, plan text, model text, provider text, most_cost numeric,
                        most_calls bigint, period_seconds double precision)
         ORDER BY b.name LOOP
        PERFORM pg_advisory_xact_lock(hashtextextended(
            'workerctl budget ' || budget.name || CASE WHEN budget.per_user THEN ' ' || coalesce(for_user, '') ELSE '' END, 0));
        IF budget.per_user THEN
            SELECT count(*) AS calls, coalesce(sum(s.cost), 0) AS cost INTO spent
              FROM workerctl.spend s
             WHERE s.user_id = for_user AND s.begun_at > now() - make_interval(secs => budget.period_seconds)
               AND (budget.plan IS NULL OR s.plan = budget.plan)
               AND (budget.model IS NULL OR s.model = budget.model)
               AND (budget.provider IS NULL OR s.provider = budget.provider);
        ELSE
            SELECT * INTO spent FROM workerctl.spent(budget.period_seconds, budget.provider, budget.model, budget.plan);
        END IF;
        IF spent.cost + estimate > budget.most_cost THEN
            RETURN format('budget %s: %s of %s are spent, and this call costs about %s', budget.name,
                          round(spent.cost, 4), round(budget.most_cost, 4), round(estimate, 4));
        ELSIF spent.calls + 1 > budget.most_calls THEN
            RETURN format('budget %s: all %s calls are used', budget.name, budget.most_calls);
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

-- A call has ended: paid or wasted with what it cost in the end, or, with no state, free of charge, which leaves no trace.
-- `made` is what later attempts of the job get instead of another call. Returns whether the attempt still had its job.
CREATE FUNCTION workerctl.end_call(
    call bigint, attempt_no integer, new_state workerctl.call_state, new_cost numeric, new_images integer,
    new_input_tokens bigint, new_output_tokens bigint, made jsonb
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    ended workerctl.spend;
BEGIN
    IF new_state IS NULL THEN
        DELETE FROM workerctl.spend s WHERE s.id = call AND s.state = 'in flight' RETURNING s.* INTO ended;
    ELSE
        UPDATE workerctl.spend s
           SET state = new_state, cost = new_cost, images = new_images, input_tokens = new_input_tokens,
               output_tokens = new_output_tokens, ended_at = now()
         WHERE s.id = call RETURNING s.* INTO ended;
    END IF;
    IF new_state = 'paid' THEN
        UPDATE workerctl.provider p SET strikes = 0
         WHERE p.name = ended.provider AND p.strikes > 0 AND p.paused_until < now();
    END IF;
    IF made IS NULL THEN
        RETURN workerctl.holds_attempt(ended.job_id, attempt_no);
    END IF;
    RETURN workerctl.remember(ended.job_id, attempt_no, 'made ' || ended.purpose, made);
END $$;

-- Forget, a bounded number at once, calls that began longer ago than `keep`, and the hours that all of them are older than.
-- Returns how many calls.
CREATE FUNCTION workerctl.forget_spend(keep interval) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    gone integer;
BEGIN
    DELETE FROM workerctl.spend s
     WHERE s.id IN (SELECT o.id FROM workerctl.spend o WHERE o.begun_at < now() - keep ORDER BY o.begun_at LIMIT 20000);
    GET DIAGNOSTICS gone = ROW_COUNT;
    DELETE FROM workerctl.spend_hour h WHERE h.hour < now() - keep - interval '1 hour';
    RETURN gone;
END $$;
