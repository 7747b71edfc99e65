-- Why a job waits, and what stands before it: bounded looks at the rows. What follows from them is broker/line.py's.

-- Jobs of a lane that stand before a place in it, as far as a claim sees them; those for later only before one that is too.
-- Jobs of one call have one rank: of a comparison of rows the planner looks at the first column alone.
CREATE FUNCTION workerctl.before_in(of_lane integer, of_rank bigint, of_job bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    those text := format(
        'SELECT FROM workerctl.live WHERE lane_id = %s AND status = ''pending'' AND NOT held AND deaths = 0 AND rank >= %s AND ',
        of_lane, CASE WHEN of_rank >= workerctl.later() THEN workerctl.later() ELSE -9223372036854775808 END);
BEGIN
    RETURN workerctl.about_rows(those || format('(rank, id) < (%s, %s)', of_rank, of_job), 1000,
                                those || format('(rank < %1$s OR rank = %1$s AND id < %2$s)', of_rank, of_job));
END $$;

-- How many of those that stand before a job in its lane have this key, too: of the 1,000 nearest they are counted.
CREATE FUNCTION workerctl.before_of_key(job workerctl.live, of_key text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN count(*) < 1000 THEN count(*) FILTER (WHERE f.has_key)
                ELSE count(*) FILTER (WHERE f.has_key) * workerctl.before_in(job.lane_id, job.rank, job.id) / 1000 END
      FROM (SELECT of_key = ANY (l.limit_keys) AS has_key
              FROM workerctl.live l
             WHERE l.lane_id = job.lane_id AND l.status = 'pending' AND NOT l.held AND l.deaths = 0
               AND (l.rank, l.id) < (job.rank, job.id)
               AND (l.rank >= workerctl.later() OR job.rank < workerctl.later())
             ORDER BY l.rank DESC, l.id DESC LIMIT 1000) f;
$$;

-- How long a run of each of these kinds takes, {kind: seconds}: by the last ten minutes, else the hour, else the day.
CREATE FUNCTION workerctl.usual_runs(kinds text[]) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_object_agg(f.kind, f.seconds) FILTER (WHERE f.seconds IS NOT NULL), '{}')
      FROM (SELECT r.kind, coalesce(sum(r.seconds) FILTER (WHERE r.age < '10 min') / sum(r.runs) FILTER (WHERE r.age < '10 min'),
                                    sum(r.seconds) FILTER (WHERE r.age < '1 hour') / sum(r.runs) FILTER (WHERE r.age < '1 hour'),
                                    sum(r.seconds) / sum(r.runs)) AS seconds
              FROM (SELECT s.kind, now() - s.at AS age, s.run_seconds AS seconds,
                           nullif(s.succeeded + s.failed + s.dead + s.cancelled, 0) AS runs
                      FROM workerctl.run_stats s
                     WHERE s.span IN (1, 10, 60, 300, 3600) AND s.at > now() - interval '1 day' AND s.kind = ANY (kinds)) r
             GROUP BY r.kind) f;
$$;

-- The line that a job of a lane stands in: the seats of the workers that serve it, what those have in hand, and of each
-- lane that they serve too, and that has room, how much stands before the job: {seats, in_hand, lanes}.
CREATE FUNCTION workerctl.line_before(job workerctl.live, lane workerctl.lane) RETURNS jsonb LANGUAGE sql STABLE AS $$
    WITH server AS MATERIALIZED (
        SELECT w.* FROM workerctl.worker w
         WHERE lane.kind = ANY (w.kinds)
           AND CASE WHEN w.queues IS NULL THEN lane.queue <> ALL (w.excluded_queues) ELSE lane.queue = ANY (w.queues) END
    ), before AS (
        SELECT a.kind, a.batch, a.id = lane.id AS own, workerctl.before_in(a.id, job.rank, job.id) AS jobs,
               (SELECT min(m.most) FROM workerctl.limits m WHERE m.name IN (a.kind, split_part(a.kind, '.', 1))) AS most,
               (SELECT min(r.most - (SELECT count(*) FROM workerctl.start s WHERE s.key = r.name AND s.at > now() - r.period))
                  FROM workerctl.rates r WHERE r.name IN (a.kind, split_part(a.kind, '.', 1))) AS starts
          FROM workerctl.lane a
         WHERE a.id = lane.id
            OR NOT a.paused AND (a.provider IS NULL OR workerctl.pause_left(a.provider) = 0)
               AND EXISTS (SELECT FROM server w
                            WHERE a.kind = ANY (w.kinds) AND CASE WHEN w.queues IS NULL THEN a.queue <> ALL (w.excluded_queues)
                                                                  ELSE a.queue = ANY (w.queues) END)
               AND coalesce((SELECT room.free FROM workerctl.kind_room(a.kind, '{}') room), 1) > 0
    )
    SELECT jsonb_build_object(
        'seats', (SELECT coalesce(sum(w.seats), 0) FROM server w),
        'lanes', (SELECT jsonb_agg(b) FROM before b WHERE b.own OR b.jobs > 0),
        'in_hand', (SELECT coalesce(jsonb_agg(f), '[]')
                      FROM (SELECT a.kind, max(extract(epoch FROM clock_timestamp() - l.started_at))::double precision AS seconds
                              FROM (SELECT * FROM workerctl.live r
                                     WHERE r.worker_id = ANY (ARRAY(SELECT w.id FROM server w)) LIMIT 1000) l
                              JOIN workerctl.lane a ON a.id = l.lane_id
                             GROUP BY a.kind, l.worker_id, CASE WHEN a.batch = 1 THEN l.id END) f));
$$;

-- Why a pending job has not begun, as far as its rows tell: which of its limits are full and who sits there, how many stand
-- before it at each of its keys, what is left of its rates and how many stand before it at each, and the line that it stands in. NULL for any other job.
CREATE FUNCTION workerctl.why_waiting(of_job bigint) RETURNS jsonb LANGUAGE plpgsql SET enable_seqscan = off SET jit = off AS $$
DECLARE
    job workerctl.live;
    lane workerctl.lane;
    names text[];
    keys text[];
    full_limits jsonb;
    its_keys jsonb;
    its_rates jsonb;
    line jsonb;
    held_before bigint;
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
                              extract(epoch FROM clock_timestamp() - l.started_at)::double precision AS seconds
                         FROM workerctl.seat s
                         JOIN workerctl.live l ON l.id = s.job_id AND l.status = 'running'
                         LEFT JOIN workerctl.worker w ON w.id = l.worker_id
                        WHERE s.key = f.key ORDER BY l.started_at LIMIT 3) h)))
      INTO full_limits
      FROM (SELECT DISTINCT m.name, k.key, m.most, workerctl.seats_taken(k.key) AS used
              FROM unnest(names, keys) AS k(name, key) JOIN workerctl.limits m USING (name)) f
     WHERE f.used >= f.most;
    IF job.held THEN
        SELECT workerctl.about_rows(format('SELECT FROM workerctl.hold WHERE key = %L AND (rank, job_id) < (%s, %s)',
                                           mine.key, mine.rank, mine.job_id), 20000)
          INTO held_before
          FROM workerctl.hold mine WHERE mine.job_id = of_job AND mine.rank = job.rank AND mine.key = ANY (keys) LIMIT 1;
    END IF;
    SELECT jsonb_agg(jsonb_build_object('most', f.most, 'used', workerctl.seats_taken(f.key), 'before', coalesce(
               held_before, workerctl.before_of_key(job, f.key)
                            + (SELECT count(*) FROM (SELECT FROM workerctl.hold h
                                                      WHERE h.key = f.key AND (h.rank, h.job_id) < (job.rank, job.id) LIMIT 20000) b))))
      INTO its_keys
      FROM (SELECT DISTINCT m.most, k.key
              FROM unnest(job.limit_names, job.limit_keys) AS k(name, key) JOIN workerctl.limits m USING (name)) f;
    SELECT jsonb_agg(jsonb_build_object(
               'name', r.name, 'key', r.key, 'most', r.most, 'period_seconds', extract(epoch FROM r.period)::double precision,
               'free', greatest(0, r.most - s.starts), 'seconds', extract(epoch FROM s.until - now())::double precision,
               'until', to_char(s.until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
               'before', CASE WHEN r.key = ANY (job.limit_keys)
                               THEN coalesce(held_before, workerctl.before_of_key(job, r.key)) END))
      INTO its_rates
      FROM (SELECT DISTINCT r.name, k.key, r.most, r.period
              FROM unnest(names, keys) AS k(name, key) JOIN workerctl.rates r USING (name)) r
     CROSS JOIN LATERAL (
           SELECT count(*) AS starts, coalesce(min(f.at), now()) + r.period AS until
             FROM (SELECT s.at FROM workerctl.start s WHERE s.key = r.key AND s.at > now() - r.period
                    ORDER BY s.at DESC LIMIT r.most) f) s;
    line := workerctl.line_before(job, lane);
    RETURN line || jsonb_build_object(
        'kind', lane.kind, 'limits', coalesce(full_limits, '[]'), 'keys', coalesce(its_keys, '[]'),
        'rates', coalesce(its_rates, '[]'), 'held', job.held, 'held_before', held_before, 'suspect', job.deaths > 0, 'batch', lane.batch,
        'runs', workerctl.usual_runs(ARRAY(SELECT lane.kind UNION SELECT jsonb_path_query(line, '$.*[*].kind') #>> '{}')),
        'ripe_in_seconds', CASE WHEN lane.batch_wait > 0 AND job.run_at <= now() THEN workerctl.ripe_in(lane) ELSE 0 END);
END $$;
