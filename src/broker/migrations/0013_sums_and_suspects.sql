-- Budgets over all users at the cost of a few rows: what has ended is added up by the hour, once. And after a death, whose
-- jobs run alone, half of the workers go on with the others.

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

-- `summed`: it is in spend_hour. Set by the primary every few seconds, so that begin_call and end_call lock no shared row.
ALTER TABLE workerctl.spend ADD COLUMN summed boolean NOT NULL DEFAULT false;
CREATE INDEX spend_not_summed ON workerctl.spend (begun_at) WHERE NOT summed;

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
CREATE OR REPLACE FUNCTION workerctl.over_budget(budgets jsonb, for_user text, estimate numeric) RETURNS text
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

-- Forget, a bounded number at once, calls that began longer ago than `keep`, and the hours that all of them are older than.
-- Returns how many calls.
CREATE OR REPLACE FUNCTION workerctl.forget_spend(keep interval) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    gone integer;
BEGIN
    DELETE FROM workerctl.spend s
     WHERE s.id IN (SELECT o.id FROM workerctl.spend o WHERE o.begun_at < now() - keep ORDER BY o.begun_at LIMIT 20000);
    GET DIAGNOSTICS gone = ROW_COUNT;
    DELETE FROM workerctl.spend_hour h WHERE h.hour < now() - keep - interval '1 hour';
    RETURN gone;
END $$;

-- The first suspect that this worker may run. With empty hands it is picked, alone; else it is reserved, and the worker
-- claims nothing more until its hands are empty, but not where half of the workers do so, or run a suspect, already. A
-- reservation of a worker that is gone counts for nothing.
CREATE OR REPLACE FUNCTION workerctl.first_suspect(me workerctl.worker, in_hand integer) RETURNS workerctl.live
LANGUAGE plpgsql AS $$
DECLARE
    suspect workerctl.live;
    may_reserve boolean := in_hand > 0 AND (
        SELECT count(*)
          FROM (SELECT l.worker_id AS id FROM workerctl.live l WHERE l.worker_id IS NOT NULL AND l.deaths > 0
                UNION SELECT l.reserved_by FROM workerctl.live l
                       WHERE l.status = 'pending' AND NOT l.held AND l.deaths > 0) taken
          JOIN workerctl.worker w ON w.id = taken.id
    ) < greatest(1, (SELECT count(*) FROM workerctl.worker) / 2);
BEGIN
    SELECT l.* INTO suspect
      FROM workerctl.live l JOIN workerctl.lane a ON a.id = l.lane_id
     WHERE l.status = 'pending' AND NOT l.held AND l.deaths > 0 AND l.run_at <= now()
       AND a.kind = ANY (me.kinds) AND NOT a.paused
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
