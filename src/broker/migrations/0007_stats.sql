-- What ran, how long it waited and how long it took: counts and histograms that workers add up themselves and say with a
-- renewal, so that a job costs nothing here. How deep the queue is: bounded looks at the rows.

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

-- Jobs that are about to die, or be cancelled, without a worker that would count them: poison, and batches none of whose
-- children succeeded. `outcomes` is an array of {id, status}.
CREATE FUNCTION workerctl.count_ends(outcomes jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO workerctl.run_stats (queue, kind, succeeded, failed, dead, cancelled, wait_seconds, run_seconds, waits, runs)
    SELECT a.queue, a.kind, 0, 0, count(*) FILTER (WHERE o.status = 'dead'), count(*) FILTER (WHERE o.status <> 'dead'),
           0, 0, '{}', '{}'
      FROM jsonb_to_recordset(outcomes) AS o(id bigint, status text)
      JOIN workerctl.live l ON l.id = o.id JOIN workerctl.lane a ON a.id = l.lane_id
     GROUP BY a.queue, a.kind;
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

-- How many users have due jobs in a lane, up to `most`: one look into the index for each.
CREATE FUNCTION workerctl.users_waiting(of_lane integer, most integer) RETURNS bigint LANGUAGE sql STABLE
SET enable_seqscan = off SET jit = off AS $$
    WITH RECURSIVE walk AS (
        (SELECT l.user_id, 1 AS users FROM workerctl.live l
          WHERE l.lane_id = of_lane AND l.status = 'pending' AND l.user_id IS NOT NULL AND l.rank < workerctl.later()
          ORDER BY l.user_id LIMIT 1)
        UNION ALL
        SELECT next.user_id, w.users + 1
          FROM walk w
         CROSS JOIN LATERAL (
               SELECT l.user_id FROM workerctl.live l
                WHERE l.lane_id = of_lane AND l.status = 'pending' AND l.user_id > w.user_id AND l.rank < workerctl.later()
                ORDER BY l.user_id LIMIT 1) next
         WHERE w.users < most
    )
    SELECT count(*) FROM walk;
$$;

-- How far one user's jobs stand apart in a lane: as long as it takes until all who wait there have had a turn, by what its runs
-- took within the hour, its seats and its rate; as a rate of its keys leaves between two starts; a second at least, an hour at
-- the most. If they stood closer, all that a user enqueued at once would soon stand before whoever comes new.
CREATE FUNCTION workerctl.set_turns(clock timestamptz DEFAULT now()) RETURNS void LANGUAGE sql AS $$
    WITH run AS (
        SELECT s.queue, s.kind, sum(s.run_seconds) / sum(s.succeeded + s.failed + s.dead + s.cancelled) AS seconds
          FROM workerctl.run_stats s
         WHERE s.span IN (1, 10, 60, 300, 3600) AND s.at > clock - interval '1 hour'
         GROUP BY s.queue, s.kind HAVING sum(s.succeeded + s.failed + s.dead + s.cancelled) > 0
    ), turn AS (
        SELECT a.id, greatest(1000, least(3600000, greatest(
                         coalesce(1000 * r.seconds / a.batch * greatest(1, users.waiting / seats.most::double precision), a.turn_ms),
                         rated.by_kind * greatest(1, users.waiting), rated.by_key)))::integer AS ms
          FROM workerctl.lane a
          LEFT JOIN run r USING (queue, kind)
         CROSS JOIN LATERAL (SELECT workerctl.users_waiting(a.id, 1000) AS waiting) users
         CROSS JOIN LATERAL (SELECT greatest(1, least(sum(w.seats), (SELECT min(m.most) FROM workerctl.limits m
                                                                     WHERE m.name IN (a.kind, split_part(a.kind, '.', 1))))) AS most
                               FROM workerctl.worker w WHERE a.kind = ANY (w.kinds)) seats
         CROSS JOIN LATERAL (SELECT max(f.ms) FILTER (WHERE f.name NOT LIKE '%{%') AS by_kind,
                                    max(f.ms) FILTER (WHERE f.name LIKE '%{%') AS by_key
                               FROM (SELECT m.name, 1000 * extract(epoch FROM m.period) / m.most AS ms FROM workerctl.rates m
                                      WHERE m.name IN (a.kind, split_part(a.kind, '.', 1)) OR a.keyed AND m.name LIKE '%{%') f) rated
    )
    UPDATE workerctl.lane a SET turn_ms = t.ms FROM turn t WHERE a.id = t.id AND abs(a.turn_ms - t.ms) > 0.2 * a.turn_ms;
$$;

-- Upkeep: few rows are left for every kind, and none that is older than what `jobs stats` looks back.
CREATE FUNCTION workerctl.tidy_stats(clock timestamptz DEFAULT now()) RETURNS void LANGUAGE sql AS $$
    SELECT workerctl.add_up_spans(1, 10, '15 s', clock), workerctl.add_up_spans(10, 60, '70 s', clock),
           workerctl.add_up_spans(60, 300, '10 min', clock), workerctl.add_up_spans(300, 3600, '65 min', clock);
    SELECT workerctl.set_turns(clock);
    DELETE FROM workerctl.run_stats s WHERE s.at < clock - interval '26 h';
$$;

-- How many rows a statement finds: up to `most` are counted, more are guessed by the planner from its statistics and the
-- table's present size; by `alike` where it says the same in words that the planner knows more of. Where those know nothing
-- of so many rows, as in the first minute of a backlog, up to 100,000 are counted.
CREATE FUNCTION workerctl.about_rows(statement text, most bigint, alike text DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    counting text := 'SELECT count(*) FROM (%s LIMIT %s) f';
    found bigint;
    guessed double precision;
    plan json;
BEGIN
    EXECUTE format(counting, statement, most + 1) INTO found;
    IF found <= most THEN
        RETURN found;
    END IF;
    EXECUTE 'EXPLAIN (FORMAT JSON) ' || coalesce(alike, statement) INTO plan;
    guessed := (plan -> 0 -> 'Plan' ->> 'Plan Rows')::double precision;
    IF guessed <= found THEN
        EXECUTE format(counting, statement, 100000) INTO found;
    END IF;
    RETURN greatest(found, guessed);
END $$;

-- How much waits in one lane, but for what is held. Up to `most` are looked at and counted; of more (`guessed`) the number is
-- guessed, and of those that were tried before the first `most` and the last 1,000 by rank are looked at, where they are to be found.
CREATE FUNCTION workerctl.lane_depth(
    of_lane integer, most bigint, OUT pending bigint, OUT guessed boolean, OUT later bigint, OUT retries bigint,
    OUT oldest_due_at timestamptz
) LANGUAGE plpgsql SET enable_seqscan = off SET jit = off AS $$
DECLARE
    those text := format(
        'SELECT FROM workerctl.live WHERE lane_id = %s AND status = ''pending'' AND NOT held AND deaths = 0', of_lane);
    last_rank bigint;
    suspects record;
BEGIN
    SELECT count(*), count(*) FILTER (WHERE f.run_at > now()), count(*) FILTER (WHERE f.failures > 0),
           min(f.run_at) FILTER (WHERE f.run_at <= now()), max(f.rank)
      INTO pending, later, retries, oldest_due_at, last_rank
      FROM (SELECT l.run_at, l.failures, l.rank FROM workerctl.live l
             WHERE l.lane_id = of_lane AND l.status = 'pending' AND NOT l.held AND l.deaths = 0
             ORDER BY l.rank, l.id LIMIT most + 1) f;
    guessed := pending > most;
    IF guessed THEN
        later := workerctl.about_rows(those || format(' AND rank > %s', workerctl.later_rank(now(), -100)), most);
        pending := later + workerctl.about_rows(those || format(' AND rank <= %s', workerctl.later_rank(now(), -100)), most);
        SELECT retries + count(*) INTO retries
          FROM (SELECT l.failures FROM workerctl.live l
                 WHERE l.lane_id = of_lane AND l.status = 'pending' AND NOT l.held AND l.deaths = 0 AND l.rank > last_rank
                 ORDER BY l.rank DESC, l.id DESC LIMIT 1000) f
         WHERE f.failures > 0;
    END IF;
    SELECT count(*) AS jobs, count(*) FILTER (WHERE f.run_at > now()) AS later, count(*) FILTER (WHERE f.failures > 0) AS retries,
           min(f.run_at) FILTER (WHERE f.run_at <= now()) AS oldest_due_at
      INTO suspects
      FROM (SELECT l.run_at, l.failures FROM workerctl.live l
             WHERE l.status = 'pending' AND NOT l.held AND l.deaths > 0 AND l.lane_id = of_lane LIMIT 20000) f;
    pending := pending + suspects.jobs;
    later := later + suspects.later;
    retries := retries + suspects.retries;
    oldest_due_at := least(oldest_due_at, suspects.oldest_due_at);
END $$;
