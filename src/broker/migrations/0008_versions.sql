-- Versions in a rolling deploy: each node and worker says which migration it knows last, and code that the schema has left
-- behind is refused when it comes or comes back.

-- Raise WQ002 unless code that knows migrations up to `known` can work with this schema. Whoever calls this registers in
-- the same transaction: the lock, taken first, keeps a `post` migration from being applied in between.
CREATE FUNCTION workerctl.require_compatible(known integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    left_behind text;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN  -- ours say so, but a pooler's sessions may not
        RAISE EXCEPTION 'limits would not hold where transactions are % by default', current_setting('transaction_isolation')
            USING ERRCODE = 'WQ004', HINT = 'ALTER ROLE ... SET default_transaction_isolation = ''read committed''';
    END IF;
    PERFORM pg_advisory_xact_lock_shared(2003792491);
    SELECT m.name INTO left_behind FROM workerctl.migration m
     WHERE m.phase = 'post' AND m.version > known ORDER BY m.version DESC LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the database has migration %, which this version of workerctl (it knows %) cannot work with',
            left_behind, known USING ERRCODE = 'WQ002', HINT = 'upgrade workerctl on this machine';
    END IF;
END $$;
