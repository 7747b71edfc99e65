-- What a job remembers: small values that outlive an attempt, such as a provider's request id, durable at once.

CREATE TABLE workerctl.memory (
    job_id        bigint NOT NULL,
    key           text NOT NULL CHECK (key <> '' AND length(key) <= 200),
    value         jsonb NOT NULL CHECK (octet_length(value::text) <= 65536),
    attempt       integer NOT NULL,  -- that remembered it
    remembered_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, key)
);
CREATE INDEX memory_age ON workerctl.memory (remembered_at);

-- Whether this attempt is the one that runs. It stays so until the caller's transaction ends.
CREATE FUNCTION workerctl.holds_attempt(job bigint, attempt_no integer) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM workerctl.live l WHERE l.id = job AND l.attempt = attempt_no AND l.status = 'running' FOR SHARE;
    RETURN FOUND;
END $$;

-- Remember a value for the attempts to come; NULL forgets it. Returns false, and changes nothing, where the attempt is not
-- the one that runs. Durable when the caller's transaction has committed, whatever `synchronous_commit` says. A job
-- remembers 100 keys at most (SQLSTATE 54000).
CREATE FUNCTION workerctl.remember(job bigint, attempt_no integer, name text, new_value jsonb) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT workerctl.holds_attempt(job, attempt_no) THEN
        RETURN false;
    END IF;
    IF current_setting('synchronous_commit') IN ('off', 'local') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    IF new_value IS NULL THEN
        DELETE FROM workerctl.memory m WHERE m.job_id = job AND m.key = name;
        RETURN true;
    END IF;
    INSERT INTO workerctl.memory AS m (job_id, key, value, attempt) VALUES (job, name, new_value, attempt_no)
        ON CONFLICT (job_id, key) DO UPDATE
           SET value = excluded.value, attempt = excluded.attempt, remembered_at = now();
    IF (SELECT count(*) FROM workerctl.memory m WHERE m.job_id = job) > 100 THEN
        RAISE EXCEPTION 'job % remembers 100 keys already', job USING ERRCODE = '54000';
    END IF;
    RETURN true;
END $$;

-- Forget, a bounded number at once, what ended jobs remembered longer ago than `keep`. Returns how much went.
CREATE FUNCTION workerctl.forget_old(keep interval) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    gone integer;
BEGIN
    DELETE FROM workerctl.memory m
     USING (SELECT o.job_id, o.key FROM workerctl.memory o
             WHERE o.remembered_at < now() - keep
               AND NOT EXISTS (SELECT FROM workerctl.live l WHERE l.id = o.job_id)
             ORDER BY o.remembered_at LIMIT 20000) old
     WHERE m.job_id = old.job_id AND m.key = old.key;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END $$;
