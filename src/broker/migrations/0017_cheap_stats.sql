-- `jobs stats` and `queue list` are asked every second: fewer rows of statistics, and lanes that are counted less far.

-- Add spans of one length up to longer ones, each of which is made once, when all of it is older than `age`: row by row as
-- they come of age they would never become fewer.
DROP FUNCTION workerctl.add_up_spans(integer, integer, interval);
CREATE FUNCTION workerctl.add_up_spans(shorter integer, longer integer, age interval, clock timestamptz DEFAULT now()) RETURNS void LANGUAGE sql AS $$
    WITH taken AS (
        DELETE FROM workerctl.run_stats s WHERE s.span = shorter AND s.at < to_timestamp(floor(extract(epoch FROM clock - age) / longer) * longer)
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
DROP FUNCTION workerctl.tidy_stats();
CREATE FUNCTION workerctl.tidy_stats(clock timestamptz DEFAULT now()) RETURNS void LANGUAGE sql AS $$
    SELECT workerctl.add_up_spans(1, 10, '15 s', clock), workerctl.add_up_spans(10, 60, '70 s', clock),
           workerctl.add_up_spans(60, 300, '10 min', clock), workerctl.add_up_spans(300, 3600, '65 min', clock);
    DELETE FROM workerctl.run_stats s WHERE s.at < clock - interval '26 h';
$$;

-- How much waits in one lane. Up to 5,000 are counted, more are guessed (`guessed`); of those that are for later or were
-- tried before, the last 1,000 by rank are looked at, where both are to be found; of held ones 20,000 in all.
CREATE OR REPLACE FUNCTION workerctl.lane_depth(
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
             ORDER BY l.rank, l.id LIMIT 100) f;
    SELECT count(*), least(min(f.run_at), oldest_due_at) INTO held, oldest_due_at
      FROM (SELECT l.run_at FROM (SELECT h.job_id FROM workerctl.hold h LIMIT 20000) h
              JOIN workerctl.live l ON l.id = h.job_id AND l.held
             WHERE l.lane_id = of_lane AND (SELECT a.keyed FROM workerctl.lane a WHERE a.id = of_lane)) f;
    SELECT pending + held + count(*) INTO pending
      FROM (SELECT FROM workerctl.live l
             WHERE l.status = 'pending' AND NOT l.held AND l.deaths > 0 AND l.lane_id = of_lane LIMIT 20000) f;
END $$;
