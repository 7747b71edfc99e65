-- What ran, how long it waited and how long it took: counts and histograms that workers add up themselves and say with a
-- renewal, so that a job costs nothing here. How deep the queue is, and why a job waits: bounded looks at the rows.

-- Attempts that ended within a span. A worker adds a row per kind about once a second (span 1); the primary adds those up
-- to spans of 10, 60, 300 and 3,600 seconds. Histograms are {"bucket": count}; see broker/histogram.py for what a bucket is.
CREATE TABLE workerctl.run_stats (
    at           timestamptz NOT NULL DEFAULT now(),  -- when the span began; of a worker's row when it was said
    span         integer NOT NULL DEFAULT 1,
    queue        text NOT NULL,
    kind         text NOT NULL,
    succeeded    bigint NOT NULL,
    failed       bigint NOT NULL,  -- and to be tried again
    dead         bigint NOT NULL,
    cancelled    bigint NOT NULL,
    wait_seconds double precision NOT NULL,  -- of all of them together
    run_seconds  double precision NOT NULL,
    waits        jsonb NOT NULL,
    runs         jsonb NOT NULL
);
CREATE INDEX run_stats_at ON workerctl.run_stats (span, at);

CREATE FUNCTION workerctl.count_runs(stats jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO workerctl.run_stats (queue, kind, succeeded, failed, dead, cancelled, wait_seconds, run_seconds, waits, runs)
    SELECT r.queue, r.kind, coalesce(r.succeeded, 0), coalesce(r.failed, 0), coalesce(r.dead, 0), coalesce(r.cancelled, 0),
           r.wait_seconds, r.run_seconds, r.waits, r.runs
      FROM jsonb_to_recordset(stats)
               AS r(queue text, kind text, succeeded bigint, failed bigint, dead bigint, cancelled bigint,
                    wait_seconds double precision, run_seconds double precision, waits jsonb, runs jsonb);
$$;

-- Add spans of one length up to longer ones, each of which is made once, when all of it is older than `age`: row by row as
-- they come of age they would never become fewer.
CREATE FUNCTION workerctl.add_up_spans(
    shorter integer, longer integer, age interval, clock timestamptz DEFAULT now()
) RETURNS void LANGUAGE sql AS $$
    WITH taken AS (
        DELETE FROM workerctl.run_stats s
         WHERE s.span = shorter AND s.at < to_timestamp(floor(extract(epoch FROM clock - age) / longer) * longer)
        RETURNING to_timestamp(floor(extract(epoch FROM s.at) / longer) * longer) AS begun, s.*
    ), bucket AS (
        SELECT t.begun, t.queue, t.kind, b.of_waits, b.key, sum(b.value::bigint) AS jobs
          FROM taken t
         CROSS JOIN LATERAL (SELECT true AS of_waits, w.* FROM jsonb_each_text(t.waits) w
                             UNION ALL SELECT false, r.* FROM jsonb_each_text(t.runs) r) b
         GROUP BY t.begun, t.queue, t.kind, b.of_waits, b.key
    ), histogram AS (
        SELECT b.begun, b.queue, b.kind, jsonb_object_agg(b.key, b.jobs) FILTER (WHERE b.of_waits) AS waits,
               jsonb_object_agg(b.key, b.jobs) FILTER (WHERE NOT b.of_waits) AS runs
          FROM bucket b GROUP BY b.begun, b.queue, b.kind
    ), counted AS (
        SELECT t.begun, t.queue, t.kind, sum(t.succeeded) AS succeeded, sum(t.failed) AS failed, sum(t.dead) AS dead,
               sum(t.cancelled) AS cancelled, sum(t.wait_seconds) AS wait_seconds, sum(t.run_seconds) AS run_seconds
          FROM taken t GROUP BY t.begun, t.queue, t.kind
    )
    INSERT INTO workerctl.run_stats
    SELECT c.begun, longer, c.queue, c.kind, c.succeeded, c.failed, c.dead, c.cancelled, c.wait_seconds, c.run_seconds,
           coalesce(h.waits, '{}'), coalesce(h.runs, '{}')
      FROM counted c LEFT JOIN histogram h USING (begun, queue, kind);
$$;

-- Upkeep: few rows are left for every kind, and none that is older than what `jobs stats` looks back.
CREATE FUNCTION workerctl.tidy_stats(clock timestamptz DEFAULT now()) RETURNS void LANGUAGE sql AS $$
    SELECT workerctl.add_up_spans(1, 10, '15 s', clock), workerctl.add_up_spans(10, 60, '70 s', clock),
           workerctl.add_up_spans(60, 300, '10 min', clock), workerctl.add_up_spans(300, 3600, '65 min', clock);
    DELETE FROM workerctl.run_stats s WHERE s.at < clock - interval '26 h';
$$;

-- How many rows a statement finds, as the planner guesses it from its statistics and the table's present size.
CREATE FUNCTION workerctl.guess_rows(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT JSON) ' || statement INTO plan;
    RETURN (plan -> 0 -> 'Plan' ->> 'Plan Rows')::double precision::bigint;
END $$;

-- How much waits in one lane. Up to 5,000 are counted, more are guessed (`guessed`); of those that are for later or were
-- tried before, the last 1,000 by rank are looked at, where both are to be found; of held ones 20,000 in all.
CREATE FUNCTION workerctl.lane_depth(
    of_lane integer, OUT pending bigint, OUT guessed boolean, OUT later bigint, OUT retries bigint, OUT held bigint,
    OUT oldest_due_at timestamptz
) LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    SELECT count(*) INTO pending
      FROM (SELECT FROM workerctl.live l
             WHERE l.lane_id = of_lane AND l.status = 'pending' AND NOT l.held AND l.deaths = 0
             LIMIT 5001) f;
    guessed := pending > 5000;
    IF guessed THEN
        pending := greatest(pending, workerctl.guess_rows(format(
            'SELECT FROM workerctl.live WHERE lane_id = %s AND status = ''pending''', of_lane)));
    END IF;
    SELECT count(*) FILTER (WHERE f.run_at > now()), count(*) FILTER (WHERE f.failures > 0) INTO later, retries
      FROM (SELECT l.run_at, l.failures FROM workerctl.live l
             WHERE l.lane_id = of_lane AND l.status = 'pending' AND NOT l.held AND l.deaths = 0
             ORDER BY l.rank DESC, l.id DESC LIMIT 1000) f;
    SELECT min(f.run_at) INTO oldest_due_at
      FROM (SELECT l.run_at FROM workerctl.live l
             WHERE l.lane_id = of_lane AND l.status = 'pending' AND NOT l.held AND l.deaths = 0 AND l.run_at <= now()
               AND l.rank < workerctl.later()
             ORDER BY l.rank, l.id LIMIT 100) f;
    SELECT count(*), least(min(f.run_at), oldest_due_at) INTO held, oldest_due_at
      FROM (SELECT l.run_at FROM (SELECT h.job_id FROM workerctl.hold h LIMIT 20000) h
              JOIN workerctl.live l ON l.id = h.job_id AND l.held
             WHERE l.lane_id = of_lane AND (SELECT a.keyed FROM workerctl.lane a WHERE a.id = of_lane)) f;
    SELECT pending + held + count(*) INTO pending
      FROM (SELECT FROM workerctl.live l
             WHERE l.status = 'pending' AND NOT l.held AND l.deaths > 0 AND l.lane_id = of_lane LIMIT 20000) f;
END $$;

-- Why a pending job has not begun, as far as its rows tell: which of its limits are full and who sits there, which rates
-- are used up and until when, how many stand before it, and at what pace its kind goes. NULL for any other job.
CREATE FUNCTION workerctl.why_waiting(of_job bigint) RETURNS jsonb LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    job workerctl.live;
    lane workerctl.lane;
    names text[];
    keys text[];
    full_limits jsonb;
    used_rates jsonb;
    ahead bigint;
    of_others bigint := 0;
    during interval;
    pace record;
BEGIN
    SELECT * INTO job FROM workerctl.live l WHERE l.id = of_job AND l.status = 'pending';
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT * INTO lane FROM workerctl.lane a WHERE a.id = job.lane_id;
    names := ARRAY[lane.kind, split_part(lane.kind, '.', 1)] || job.limit_names;
    keys := ARRAY[lane.kind, split_part(lane.kind, '.', 1)] || job.limit_keys;
    SELECT jsonb_agg(jsonb_build_object('name', f.name, 'key', f.key, 'most', f.most, 'used', f.used, 'holders', (
               SELECT jsonb_agg(jsonb_build_object('job_id', h.id, 'worker', h.worker, 'seconds', h.seconds))
                 FROM (SELECT l.id, coalesce(w.host || ' ' || w.pool || '/' || w.slot, 'nobody') AS worker,
                              extract(epoch FROM now() - l.started_at)::double precision AS seconds
                         FROM workerctl.seat s
                         JOIN workerctl.live l ON l.id = s.job_id AND l.status = 'running'
                         LEFT JOIN workerctl.worker w ON w.id = l.worker_id
                        WHERE s.key = f.key ORDER BY l.started_at LIMIT 3) h)))
      INTO full_limits
      FROM (SELECT DISTINCT m.name, k.key, m.most, workerctl.seats_taken(k.key) AS used
              FROM unnest(names, keys) AS k(name, key) JOIN workerctl.limits m USING (name)) f
     WHERE f.used >= f.most;
    SELECT jsonb_agg(jsonb_build_object('name', f.name, 'key', f.key, 'most', f.most, 'period_seconds', f.period_seconds,
                                        'until', to_char(f.until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                                        'seconds', extract(epoch FROM f.until - now())::double precision))
      INTO used_rates
      FROM (SELECT DISTINCT r.name, k.key, r.most, extract(epoch FROM r.period)::double precision AS period_seconds,
                   (SELECT s.at FROM workerctl.start s WHERE s.key = k.key AND s.at > now() - r.period
                     ORDER BY s.at DESC OFFSET r.most - 1 LIMIT 1) + r.period AS until
              FROM unnest(names, keys) AS k(name, key) JOIN workerctl.rates r USING (name)) f
     WHERE f.until IS NOT NULL;
    IF job.held THEN
        SELECT count(*) INTO ahead
          FROM (SELECT FROM workerctl.hold mine
                  JOIN workerctl.hold h ON h.key = mine.key AND (h.rank, h.job_id) < (mine.rank, mine.job_id)
                 WHERE mine.job_id = of_job AND mine.rank = job.rank AND mine.key = ANY (keys) LIMIT 1000) f;
    ELSE
        SELECT count(*), count(*) FILTER (WHERE f.lane_id <> job.lane_id) INTO ahead, of_others
          FROM (SELECT l.lane_id  -- workers take what stands first over all kinds of its queue that have room
                  FROM workerctl.lane a
                 CROSS JOIN LATERAL (
                       SELECT l.lane_id FROM workerctl.live l
                        WHERE l.lane_id = a.id AND l.status = 'pending' AND NOT l.held AND l.deaths = 0
                          AND (l.rank, l.id) < (job.rank, job.id) LIMIT 1000) l
                 WHERE a.id = job.lane_id
                    OR full_limits IS NULL AND used_rates IS NULL AND a.queue = lane.queue AND NOT a.paused
                       AND EXISTS (SELECT FROM workerctl.worker w WHERE a.kind = ANY (w.kinds))
                       AND coalesce((SELECT room.free FROM workerctl.kind_room(a.kind, '{}') room), 1) > 0
                 LIMIT 1000) f;
    END IF;
    FOREACH during IN ARRAY '{10 min, 1 hour, 1 day}'::interval[] LOOP  -- of long jobs none may have ended lately
        SELECT sum(s.succeeded + s.failed + s.dead + s.cancelled) / extract(epoch FROM during) AS per_second,
               sum(s.run_seconds) / nullif(sum(s.succeeded + s.failed + s.dead + s.cancelled), 0) AS run_seconds
          INTO pace
          FROM workerctl.run_stats s
         WHERE s.span IN (1, 10, 60, 300, 3600) AND s.at > now() - during AND s.queue = lane.queue AND s.kind = lane.kind;
        EXIT WHEN pace.per_second > 0;
    END LOOP;
    RETURN jsonb_build_object(
        'limits', coalesce(full_limits, '[]'), 'rates', coalesce(used_rates, '[]'), 'ahead', ahead, 'of_others', of_others, 'held', job.held,
        'per_second', pace.per_second::double precision, 'run_seconds', pace.run_seconds,
        'suspect', job.deaths > 0, 'batch', lane.batch,
        'ripe_in_seconds', CASE WHEN lane.batch_wait > 0 AND job.run_at <= now() THEN workerctl.ripe_in(lane) ELSE 0 END);
END $$;
