-- Budgets over all users at the cost of a few rows: what has ended is added up by the hour, once. `over_budget` asks `spent`.

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
