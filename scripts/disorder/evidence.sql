-- Witnesses inside the database that is disturbed: every hand-out and every end of one, and whoever spoke for another.
-- A worker's statement and a give-back lock the worker's row first; so who lets a running job go must hold that lock.

CREATE SCHEMA IF NOT EXISTS chaos;

CREATE TABLE chaos.handed (
    job_id    bigint NOT NULL,
    attempt   integer NOT NULL,
    worker_id bigint NOT NULL,
    at        timestamptz NOT NULL DEFAULT now()  -- when its worker spoke, as the lease has it: a server may stop on the way
);

CREATE TABLE chaos.let_go (
    job_id    bigint NOT NULL,
    attempt   integer NOT NULL,
    worker_id bigint NOT NULL,
    into_what text NOT NULL,     -- its next state, or `ended`
    by_holder boolean NOT NULL,  -- whether this transaction has its holder's row
    at        timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE chaos.given_up (
    worker_id   bigint NOT NULL,
    lease_until timestamptz NOT NULL
);

CREATE FUNCTION chaos.witness() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    me text := pg_current_xact_id()::xid::text;
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.worker_id IS NOT NULL
       AND (TG_OP = 'DELETE' OR NEW.worker_id IS DISTINCT FROM OLD.worker_id OR NEW.attempt <> OLD.attempt) THEN
        INSERT INTO chaos.let_go (job_id, attempt, worker_id, into_what, by_holder)
        VALUES (OLD.id, OLD.attempt, OLD.worker_id, CASE WHEN TG_OP = 'DELETE' THEN 'ended' ELSE NEW.status::text END,
                EXISTS (SELECT FROM workerctl.worker w WHERE w.id = OLD.worker_id AND me IN (w.xmin::text, w.xmax::text)));
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.worker_id IS NOT NULL
       AND (TG_OP = 'INSERT' OR OLD.worker_id IS DISTINCT FROM NEW.worker_id OR NEW.attempt <> OLD.attempt) THEN
        INSERT INTO chaos.handed (job_id, attempt, worker_id) VALUES (NEW.id, NEW.attempt, NEW.worker_id);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER witness AFTER INSERT OR UPDATE OR DELETE ON workerctl.live
    FOR EACH ROW EXECUTE FUNCTION chaos.witness();

INSERT INTO chaos.handed (job_id, attempt, worker_id)  -- what runs already: the trigger's making keeps writers out until the end
SELECT id, attempt, worker_id FROM workerctl.live WHERE worker_id IS NOT NULL;

-- Workers that are forgotten after the end of their lease.
CREATE FUNCTION chaos.witness_of_leases() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos.given_up (worker_id, lease_until) VALUES (OLD.id, OLD.lease_until);
    RETURN NULL;
END $$;

CREATE TRIGGER witness_of_leases AFTER DELETE ON workerctl.worker
    FOR EACH ROW WHEN (OLD.lease_until < now()) EXECUTE FUNCTION chaos.witness_of_leases();
