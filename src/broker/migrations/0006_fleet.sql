-- Workers and nodes: registration, give-back of the lost, leases, the primary and its ticks.

CREATE FUNCTION workerctl.register_worker(
    incarnation text, node_id text, host text, pool text, slot integer, pid integer, kinds jsonb, queues text[],
    excluded_queues text[], lease_seconds double precision, schema integer DEFAULT 2147483647, seats integer DEFAULT 1
) RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    new_id bigint;
BEGIN
    PERFORM workerctl.require_compatible(schema);
    INSERT INTO workerctl.kind AS k (name, queue, max_attempts, batch, batch_wait)
    SELECT r.name, r.queue, r.max_attempts, r.batch, r.batch_wait_seconds
      FROM jsonb_to_recordset(kinds)
               AS r(name text, queue text, max_attempts smallint, batch integer, batch_wait_seconds double precision)
     ORDER BY r.name
        ON CONFLICT (name) DO UPDATE
           SET queue = excluded.queue, max_attempts = excluded.max_attempts, batch = excluded.batch,
               batch_wait = excluded.batch_wait
         WHERE (k.queue, k.max_attempts, k.batch, k.batch_wait)
               IS DISTINCT FROM (excluded.queue, excluded.max_attempts, excluded.batch, excluded.batch_wait);
    UPDATE workerctl.lane a SET batch = k.batch, batch_wait = k.batch_wait
      FROM workerctl.kind k WHERE k.name = a.kind AND (k.batch, k.batch_wait) <> (a.batch, a.batch_wait);
    INSERT INTO workerctl.worker AS w (incarnation, node_id, host, pool, slot, pid, kinds, queues, excluded_queues, lease_until,
                                       schema, seats)
    VALUES (incarnation, node_id, host, pool, slot, pid,
            ARRAY(SELECT r.name FROM jsonb_to_recordset(kinds) AS r(name text)), queues, excluded_queues,
            now() + make_interval(secs => lease_seconds), schema, seats)
        ON CONFLICT ON CONSTRAINT worker_incarnation_key DO UPDATE SET lease_until = excluded.lease_until  -- its answer was lost
    RETURNING w.id INTO new_id;
    PERFORM set_config('synchronous_commit', 'off', true);  -- a row that is lost with its server is made anew by its worker
    RETURN new_id;
END $$;

-- Give back everything that these workers hold and forget them. `died` counts the death against the jobs in hand, which
-- are run alone from then on; a job that was alone in hand at three deaths is not handed out again. `words` is what is known
-- of the death; it ends up in the error of those jobs.
CREATE FUNCTION workerctl.release_workers(worker_ids bigint[], died boolean, words text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SET enable_seqscan = off SET jit = off AS $$
DECLARE
    gone bigint[];
    returned bigint[];
    poison jsonb;
BEGIN
    gone := ARRAY(SELECT w.id FROM workerctl.worker w WHERE w.id = ANY (worker_ids) ORDER BY w.id FOR UPDATE);
    WITH in_hand AS (
        SELECT l.worker_id, count(*) AS jobs FROM workerctl.live l WHERE l.worker_id = ANY (gone) GROUP BY l.worker_id
    ), put_back AS (
        UPDATE workerctl.live l
           SET status = 'pending', worker_id = NULL, started_at = NULL, progress_done = NULL, progress_total = NULL,
               deaths = l.deaths + died::integer,
               lone_deaths = l.lone_deaths + (died AND h.jobs = 1)::integer,
               error = CASE WHEN died THEN 'the worker died with this job in hand' || coalesce(': ' || words, '') ELSE l.error END
          FROM in_hand h
         WHERE l.worker_id = ANY (gone) AND l.worker_id = h.worker_id
        RETURNING l.id
    )
    SELECT coalesce(array_agg(p.id), '{}') INTO returned FROM put_back p;
    SELECT jsonb_agg(jsonb_build_object(
               'id', l.id, 'status', CASE WHEN l.cancel_asked_at IS NOT NULL THEN 'cancelled' ELSE 'dead' END,
               'error', CASE WHEN l.cancel_asked_at IS NOT NULL THEN 'cancelled by request'
                             ELSE 'its worker died ' || l.lone_deaths || ' times with nothing but this job in hand'
                                  || coalesce(': ' || words, '') END))
      INTO poison
      FROM workerctl.live l
     WHERE l.id = ANY (returned) AND (l.lone_deaths >= 3 OR l.cancel_asked_at IS NOT NULL);
    IF poison IS NOT NULL THEN
        PERFORM workerctl.count_ends(poison);
        PERFORM workerctl.finish(poison);
    END IF;
    DELETE FROM workerctl.worker w WHERE w.id = ANY (gone);
    PERFORM workerctl.vacate(returned);
    IF cardinality(returned) > 0 THEN
        PERFORM workerctl.ring();
    END IF;
    RETURN cardinality(returned);
END $$;

-- Renew a node's lease and give back the jobs of every worker whose own lease ended. Others are judged only by a node
-- that has been steady for a whole lease, on a server that has been up for one: an outage of the database expires nobody,
-- nor does somebody's lock.
-- What lies ahead was written before the server's clock was set back: such a node begins to be steady anew.
-- Returns how many workers were given up. Raises WQ003, with the time of its last renewal as DETAIL, where another place
-- renews it: of two with one id either would give back what the other's workers hold.
CREATE FUNCTION workerctl.renew_node(
    node_id text, host text, version text, cores integer, lease_seconds double precision, schema integer DEFAULT 2147483647,
    place text DEFAULT ''
) RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    lease interval := make_interval(secs => lease_seconds);
    expired bigint[];
    holder workerctl.node;
BEGIN
    PERFORM FROM workerctl.live WHERE id = 0;  -- what keeps workers from renewing, as a lock of this table, keeps nodes from it
    -- while a migration is applied nobody comes in; who is in, as a node is until its lease ends, it has taken into account
    IF pg_try_advisory_xact_lock_shared(2003792491)
       OR NOT EXISTS (SELECT FROM workerctl.node n
                       WHERE n.id = node_id AND n.schema = schema AND n.lease_until > clock_timestamp()) THEN
        PERFORM workerctl.require_compatible(schema);
    END IF;
    INSERT INTO workerctl.node AS n (id, host, version, cores, lease_until, schema, place)
    VALUES (node_id, host, version, cores, now() + lease, schema, place)
        ON CONFLICT (id) DO UPDATE
           SET lease_until = now() + lease, host = excluded.host, version = excluded.version, cores = excluded.cores,
               schema = excluded.schema, place = excluded.place, renewed_at = now(),
               steady_since = CASE WHEN n.lease_until < now() OR n.steady_since > now() THEN now() ELSE n.steady_since END
         WHERE n.place = excluded.place  -- an agent renews it each 2 s
            OR n.renewed_at NOT BETWEEN now() - interval '6 seconds' AND now() + interval '6 seconds';
    IF NOT FOUND THEN
        SELECT * INTO holder FROM workerctl.node n WHERE n.id = node_id;
        RAISE EXCEPTION 'the id of this node, %, is that of a home on host % as well', node_id, holder.host
            USING ERRCODE = 'WQ003', DETAIL = holder.renewed_at;
    END IF;
    expired := ARRAY(
        SELECT w.id FROM workerctl.worker w, workerctl.node n
         WHERE w.lease_until < now() AND n.id = node_id AND n.steady_since < now() - lease
           AND pg_postmaster_start_time() NOT BETWEEN now() - lease AND now());
    IF expired <> '{}' THEN
        PERFORM workerctl.release_workers(expired, died => false);
    END IF;
    RETURN cardinality(expired);
END $$;

-- Take or renew the primary's lease. A new agent of the node that holds it takes over at once. Returns the term while
-- the lease is this agent's, else NULL. One that was taken before the server's clock was set back ends as if it were taken now.
CREATE FUNCTION workerctl.hold_primary(agent text, node text, lease_seconds double precision) RETURNS bigint
LANGUAGE sql AS $$
    UPDATE workerctl.leadership SET lease_until = now() + make_interval(secs => lease_seconds)
     WHERE lease_until > now() + make_interval(secs => 2 * lease_seconds);
    UPDATE workerctl.leadership
       SET agent = hold_primary.agent, node_id = hold_primary.node,
           term = term + (leadership.agent IS DISTINCT FROM hold_primary.agent)::integer,
           lease_until = now() + make_interval(secs => lease_seconds)
     WHERE leadership.agent = hold_primary.agent OR leadership.node_id = hold_primary.node OR lease_until < now()
    RETURNING term;
$$;

-- One due time of one scheduled task: its tick and its job in one transaction, refused where the term is not the
-- primary's any more. Returns the job's id, or NULL where the tick exists already, the task is paused or the term is over.
CREATE FUNCTION workerctl.make_tick(primary_term bigint, task text, due_at timestamptz, kind text, payload jsonb)
RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    new_job bigint;
BEGIN
    PERFORM 1 FROM workerctl.leadership l
      WHERE l.term = primary_term AND l.lease_until > clock_timestamp() FOR SHARE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE workerctl.schedule s SET last_due_at = due_at WHERE s.name = task AND s.last_due_at < due_at;
    IF EXISTS (SELECT FROM workerctl.schedule s WHERE s.name = task AND s.paused_at IS NOT NULL) THEN
        RETURN NULL;
    END IF;
    INSERT INTO workerctl.tick (name, due_at, job_id, term) VALUES (task, due_at, 0, primary_term) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- not through admission's door: a due time that is refused would be lost
    new_job := (workerctl.insert_jobs(jsonb_build_array(jsonb_build_object('kind', kind, 'payload', payload))))[1];
    UPDATE workerctl.tick t SET job_id = new_job WHERE t.name = task AND t.due_at = make_tick.due_at;
    RETURN new_job;
END $$;

-- Make history's partitions for today and the next days (UTC), and take in what the default partition caught meanwhile.
-- Who waits here for somebody's report keeps others from history who come later, and settlements from what `drop_days` locks:
-- raises lock_not_available.
CREATE FUNCTION workerctl.make_partitions(days_ahead integer) RETURNS integer LANGUAGE plpgsql SET lock_timeout = '250ms' AS $$
DECLARE
    day date;
    name text;
    made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('workerctl.history'));
    FOR day IN SELECT d::date FROM generate_series((now() AT TIME ZONE 'UTC')::date,
                                                   (now() AT TIME ZONE 'UTC')::date + days_ahead, '1 day') AS d LOOP
        name := 'history_' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass('workerctl.' || name) IS NOT NULL;
        EXECUTE format('CREATE TABLE workerctl.%I (LIKE workerctl.history INCLUDING ALL)', name);
        EXECUTE format('WITH caught AS (DELETE FROM workerctl.history_default WHERE finished_at >= %L AND finished_at < %L '
                       'RETURNING *) INSERT INTO workerctl.%I SELECT * FROM caught',
                       day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC', name);
        EXECUTE format('ALTER TABLE workerctl.history ATTACH PARTITION workerctl.%I FOR VALUES FROM (%L) TO (%L)',
                       name, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
        made := made + 1;
    END LOOP;
    RETURN made;
END $$;

-- Drop the days of history that are older than `keep`; how many. In a transaction of its own: it locks all of history, and who
-- has locked the default partition before, as `make_partitions` does, meets a reader that comes from history to its partitions.
CREATE FUNCTION workerctl.drop_days(keep interval) RETURNS integer LANGUAGE plpgsql SET lock_timeout = '250ms' AS $$
DECLARE
    name text;
    dropped integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('workerctl.history'));
    FOR name IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                 WHERE i.inhparent = 'workerctl.history'::regclass AND c.relname ~ '^history_\d{8}$'
                   AND to_date(right(c.relname, 8), 'YYYYMMDD') < ((now() - keep) AT TIME ZONE 'UTC')::date LOOP
        EXECUTE format('DROP TABLE workerctl.%I', name);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;

-- Remove what of the execution log, of ticks and of history's default partition is older than `keep`, of each a bounded number
-- at once, of the log in the order it was written; and nodes that are gone for so long: a container may be another node each
-- time. Returns how much went but for those: where it is more than nothing, ask again soon.
CREATE FUNCTION workerctl.drop_old(keep interval) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    rows_gone integer;
    gone integer := 0;
BEGIN
    DELETE FROM workerctl.execution_log
     WHERE logged_at < now() - keep AND id <= (SELECT max(id) FROM (SELECT id FROM workerctl.execution_log ORDER BY id LIMIT 20000) f);
    GET DIAGNOSTICS rows_gone = ROW_COUNT;
    gone := gone + rows_gone;
    DELETE FROM workerctl.tick  -- a task's last one stays: it says when a yearly task ran
     WHERE ctid = ANY (ARRAY(
           SELECT t.ctid FROM workerctl.tick t
            WHERE t.due_at < now() - keep AND (EXISTS (SELECT FROM workerctl.tick n WHERE n.name = t.name AND n.due_at > t.due_at)
                                               OR NOT EXISTS (SELECT FROM workerctl.schedule s WHERE s.name = t.name))
            LIMIT 20000));
    GET DIAGNOSTICS rows_gone = ROW_COUNT;
    gone := gone + rows_gone;
    DELETE FROM workerctl.history_default
     WHERE ctid = ANY (ARRAY(SELECT h.ctid FROM workerctl.history_default h WHERE h.finished_at < now() - keep LIMIT 20000));
    GET DIAGNOSTICS rows_gone = ROW_COUNT;
    DELETE FROM workerctl.node WHERE lease_until < now() - keep;
    RETURN gone + rows_gone;
END $$;

SELECT workerctl.make_partitions(3);
