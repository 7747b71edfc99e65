-- The queue: live work in one hot table, ended work in history partitioned by day, workers and their leases beside it.
-- Every function qualifies its names, so that it means the same under any search_path and through any pooler.

CREATE TYPE workerctl.job_status AS ENUM ('pending', 'running', 'waiting', 'succeeded', 'dead', 'cancelled');

-- A domain is checked when a payload is made, not at every update of its row as a table's CHECK would be. Writing the text
-- to measure it is 8 % of a bulk enqueue; in 80 bytes are at most six numbers, the longest of which has 131,072 digits.
-- A worker that reads what is nested 1,000 deep ends with all that it has in hand; 500 levels take 4,000 bytes.
CREATE DOMAIN workerctl.payload AS jsonb
    CONSTRAINT payload_at_most_1_mib CHECK (pg_column_size(VALUE) <= 80 OR octet_length(VALUE::text) <= 1048576)
    CONSTRAINT payload_at_most_500_deep CHECK (
        pg_column_size(VALUE) <= 4000
        OR NOT jsonb_path_exists(VALUE, 'strict $.**{500} ? (@.type() == "object" || @.type() == "array")'));

-- What concerns one column is a domain for the same reason, and another: PostgreSQL parses the text of every CHECK of a
-- table anew in each statement that writes to it, 10 us a CHECK. `live` has one, for the fence; what else relates its
-- columns is the view `unsound`, which the model test and the chaos run ask again and again.
-- An index entry takes 2,704 bytes, and a character up to four.
CREATE DOMAIN workerctl.priority AS smallint CONSTRAINT from_minus_100_to_100 CHECK (VALUE BETWEEN -100 AND 100);
CREATE DOMAIN workerctl.positive AS smallint CONSTRAINT at_least_1 CHECK (VALUE >= 1);
CREATE DOMAIN workerctl.name_text AS text CONSTRAINT at_most_200_characters CHECK (length(VALUE) <= 200);
CREATE DOMAIN workerctl.key_text AS text CONSTRAINT at_most_500_characters CHECK (length(VALUE) <= 500);

CREATE SEQUENCE workerctl.job_id;

CREATE TABLE workerctl.kind (
    name         text PRIMARY KEY CHECK (name <> '' AND length(name) <= 200),
    queue        text NOT NULL,
    max_attempts smallint,
    batch        integer NOT NULL DEFAULT 1 CHECK (batch >= 1),
    batch_wait   double precision NOT NULL DEFAULT 0 CHECK (batch_wait >= 0)  -- seconds that the first waits for others
);

CREATE TABLE workerctl.queue (
    name      text PRIMARY KEY,
    paused_at timestamptz
);

-- One lane per queue and kind: a claim looks only into lanes its worker can serve, so jobs of unknown kinds and of
-- paused queues are never walked over.
CREATE TABLE workerctl.lane (
    id    integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue text NOT NULL CHECK (queue <> '' AND length(queue) <= 200),
    kind  text NOT NULL CHECK (kind <> '' AND length(kind) <= 200),
    keyed boolean NOT NULL DEFAULT false,  -- its jobs carry limit keys: each is checked before it is handed out
    batch integer NOT NULL DEFAULT 1,      -- as kind.batch says, here because every claim reads it
    batch_wait double precision NOT NULL DEFAULT 0,  -- as kind.batch_wait says
    paused boolean NOT NULL DEFAULT false, -- as queue.paused_at says
    turn_ms integer NOT NULL DEFAULT 1000, -- by how much of rank one user's jobs stand apart: as long as one runs
    provider text,                         -- that its jobs met while it was paused: while it is, they are not handed out
    UNIQUE (queue, kind, keyed)
);

-- How many jobs may run at once in the fleet, for a kind (or what stands before its first dot) or for a key such as
-- `user:{user_id}`, rendered for each job when it is enqueued. `configured` is what the config says, `most` what holds.
CREATE TABLE workerctl.limits (
    name       text PRIMARY KEY CHECK (name <> '' AND length(name) <= 200),
    most       integer NOT NULL CHECK (most >= 0),
    configured integer CHECK (configured >= 0)
);

-- How many jobs may start within a sliding period, for the same kinds of names.
CREATE TABLE workerctl.rates (
    name   text PRIMARY KEY CHECK (name <> '' AND length(name) <= 200),
    most   integer NOT NULL CHECK (most >= 1),
    period interval NOT NULL CHECK (period > '0')
);

-- How many root jobs of a plan (`plan:paid`) or kind may be pending; one more is refused when it is enqueued.
CREATE TABLE workerctl.admission (
    name text PRIMARY KEY CHECK (name <> '' AND length(name) <= 200),
    most integer NOT NULL CHECK (most >= 0)
);

-- Who sits in the seats of a limit. A seat counts only while its job runs (usage joins live), so none can leak.
CREATE TABLE workerctl.seat (
    key    text NOT NULL,
    job_id bigint NOT NULL,
    PRIMARY KEY (key, job_id)
);
CREATE INDEX seat_job ON workerctl.seat (job_id);

-- Pending jobs that wait for a seat of one key, or for a start of its rate; out of the claim's sight (live.held) until one
-- is free.
CREATE TABLE workerctl.hold (
    key    text NOT NULL,
    rank   bigint NOT NULL,
    job_id bigint NOT NULL,
    PRIMARY KEY (key, rank, job_id)
);

-- Starts that count against a rate; older ones than its period are removed.
CREATE TABLE workerctl.start (
    key text NOT NULL,
    at  timestamptz NOT NULL
);
CREATE INDEX start_key ON workerctl.start (key, at);

-- When a key whose jobs wait for a start of its rate has one again.
CREATE TABLE workerctl.used_up (
    key     text PRIMARY KEY,
    free_at timestamptz NOT NULL
);

CREATE TABLE workerctl.node (
    id           text PRIMARY KEY,
    host         text NOT NULL,
    version      text NOT NULL,
    cores        integer NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now(),
    lease_until  timestamptz NOT NULL,
    schema       integer NOT NULL DEFAULT 2147483647,  -- the last migration that its code knows
    place        text NOT NULL DEFAULT '',  -- tells its home from a copy with the same id
    renewed_at   timestamptz NOT NULL DEFAULT now(),
    steady_since timestamptz NOT NULL DEFAULT now()  -- since when its lease has been renewed without a gap
);

-- One row per living worker process. A claim is a lease held by a worker: this row's, whatever it runs.
CREATE TABLE workerctl.worker (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incarnation     text NOT NULL UNIQUE,
    node_id         text NOT NULL,
    host            text NOT NULL,
    pool            text NOT NULL,
    slot            integer NOT NULL,
    pid             integer NOT NULL,
    kinds           text[] NOT NULL,
    queues          text[],            -- NULL: every queue but those of other pools
    excluded_queues text[] NOT NULL DEFAULT '{}',
    started_at      timestamptz NOT NULL DEFAULT now(),
    lease_until     timestamptz NOT NULL,
    schema          integer NOT NULL,  -- the last migration that its code knows
    session         integer NOT NULL DEFAULT 0,  -- + 1 with every connection: what an earlier one said late is not heard
    seats           integer NOT NULL DEFAULT 1   -- jobs that it runs at once
);

CREATE TABLE workerctl.live (
    id                 bigint PRIMARY KEY WITH (fillfactor = 45) DEFAULT nextval('workerctl.job_id'),  -- a claim adds an entry
    rank               bigint NOT NULL,  -- claim order, fixed at enqueue: run_at in ms, ten minutes earlier per priority
    run_at             timestamptz NOT NULL DEFAULT now(),
    created_at         timestamptz NOT NULL DEFAULT now(),
    lane_id            integer NOT NULL,
    status             workerctl.job_status NOT NULL DEFAULT 'pending',
    attempt            integer NOT NULL DEFAULT 0,   -- the fence: + 1 at every hand-out, never given back
    priority           workerctl.priority NOT NULL DEFAULT 0,
    max_attempts       workerctl.positive NOT NULL DEFAULT 3,
    failures           smallint NOT NULL DEFAULT 0,  -- counts against max_attempts
    deaths             smallint NOT NULL DEFAULT 0,  -- workers that died with this job in hand
    lone_deaths        smallint NOT NULL DEFAULT 0,  -- of these, with nothing else in hand
    held               boolean NOT NULL DEFAULT false,  -- pending, but its key has no free seat
    children_total     integer NOT NULL DEFAULT 0,
    children_succeeded integer NOT NULL DEFAULT 0,
    children_dead      integer NOT NULL DEFAULT 0,
    children_cancelled integer NOT NULL DEFAULT 0,
    -- what may be NULL stands last: to find what comes after a NULL costs a claim a tenth
    worker_id          bigint,
    started_at         timestamptz,
    cancel_asked_at    timestamptz,
    reserved_by        bigint,  -- the worker that empties its hands to run this suspect alone
    parent_id          bigint,
    progress_done      bigint,
    progress_total     bigint,
    child_index        integer,
    payload            workerctl.payload NOT NULL DEFAULT '{}',
    limit_names        text[],  -- the limits and rates that this job falls under by its keys,
    limit_keys         text[],  -- and its key of each
    unique_key         workerctl.key_text,
    user_id            workerctl.name_text,
    plan               workerctl.name_text,
    result             jsonb,
    error              text,
    on_done            jsonb,
    CONSTRAINT running_has_a_worker CHECK ((status = 'running') = (worker_id IS NOT NULL))
) WITH (
    fillfactor = 75,
    toast_tuple_target = 512,  -- larger payloads go out of line at once, so that a claim rewrites a narrow row
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.2
);

CREATE INDEX live_claim ON workerctl.live (lane_id, rank, id) WHERE status = 'pending' AND NOT held AND deaths = 0;
-- Suspects: jobs that a worker died with in hand. They are handed out alone, so that a next death says whose it was.
CREATE INDEX live_suspect ON workerctl.live (rank, id) WHERE status = 'pending' AND NOT held AND deaths > 0;
-- Where a user's backlog ends, so that the next job queues up behind it and users take turns; without those for later.
CREATE INDEX live_turn ON workerctl.live (lane_id, user_id, priority, rank)
    WHERE status = 'pending' AND user_id IS NOT NULL AND rank < 1152921504606846976;  -- workerctl.later()
CREATE INDEX live_running ON workerctl.live (worker_id) WHERE worker_id IS NOT NULL;
-- What a worker is told with each renewal; in `live_running` an old snapshot keeps an entry of every job that it ran.
CREATE INDEX live_cancelled ON workerctl.live (worker_id) WHERE cancel_asked_at IS NOT NULL;
CREATE INDEX live_waiting ON workerctl.live (id) WHERE status = 'waiting';
CREATE UNIQUE INDEX live_unique_key ON workerctl.live (unique_key) WHERE unique_key IS NOT NULL;
CREATE UNIQUE INDEX live_child ON workerctl.live (parent_id, child_index) WHERE parent_id IS NOT NULL;

CREATE TABLE workerctl.history (
    id                 bigint NOT NULL,
    finished_at        timestamptz NOT NULL DEFAULT now(),
    run_at             timestamptz NOT NULL,
    created_at         timestamptz NOT NULL,
    status             workerctl.job_status NOT NULL,
    attempt            integer NOT NULL,
    children_total     integer NOT NULL,
    children_succeeded integer NOT NULL,
    children_dead      integer NOT NULL,
    children_cancelled integer NOT NULL,
    priority           smallint NOT NULL,
    max_attempts       smallint NOT NULL,
    failures           smallint NOT NULL,
    deaths             smallint NOT NULL,
    started_at         timestamptz,
    parent_id          bigint,
    progress_done      bigint,
    progress_total     bigint,
    child_index        integer,
    kind               text NOT NULL,
    queue              text NOT NULL,
    payload            jsonb NOT NULL,
    node               text,
    worker             text,
    unique_key         text,
    user_id            text,
    plan               text,
    result             jsonb,
    error              text,
    on_done            jsonb,
    limit_names        text[],
    limit_keys         text[],
    CONSTRAINT only_ended_states CHECK (status IN ('succeeded', 'dead', 'cancelled'))
) PARTITION BY RANGE (finished_at);

CREATE INDEX history_id ON workerctl.history (id);
CREATE INDEX history_parent ON workerctl.history (parent_id, child_index) WHERE parent_id IS NOT NULL;
CREATE INDEX history_dead ON workerctl.history (id) WHERE status = 'dead';
CREATE INDEX history_user ON workerctl.history (user_id, id) WHERE user_id IS NOT NULL;
CREATE TABLE workerctl.history_default PARTITION OF workerctl.history DEFAULT;  -- no insert fails for want of upkeep

CREATE TABLE workerctl.execution_log (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id    bigint,
    attempt   integer,
    level     text NOT NULL DEFAULT 'info',
    message   text NOT NULL,
    fields    jsonb NOT NULL DEFAULT '{}',
    logged_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX execution_log_job ON workerctl.execution_log (job_id, id) WHERE job_id IS NOT NULL;

-- The primary's lease: one row, whose term grows with every change of holder. Every act of the primary carries its term.
CREATE TABLE workerctl.leadership (
    singleton   boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    agent       text,
    node_id     text,
    term        bigint NOT NULL DEFAULT 0,
    lease_until timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO workerctl.leadership DEFAULT VALUES;

CREATE TABLE workerctl.schedule (
    name        text PRIMARY KEY,
    cron        text NOT NULL,
    timezone    text NOT NULL,
    kind        text NOT NULL,
    payload     jsonb NOT NULL DEFAULT '{}',
    last_due_at timestamptz NOT NULL DEFAULT now(),
    paused_at   timestamptz
);

CREATE TABLE workerctl.tick (
    name    text NOT NULL,
    due_at  timestamptz NOT NULL,
    job_id  bigint NOT NULL,
    term    bigint NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (name, due_at)
);

-- Live jobs that break a rule of their table: none, ever.
CREATE VIEW workerctl.unsound AS
SELECT l.id, r.rule
  FROM workerctl.live l
 CROSS JOIN LATERAL (VALUES
       ('only live states', l.status IN ('pending', 'running', 'waiting')),
       ('running has started', l.status <> 'running' OR l.started_at IS NOT NULL),
       ('waiting has children', l.status <> 'waiting' OR l.children_total > 0),
       ('children add up', l.children_succeeded + l.children_dead + l.children_cancelled <= l.children_total),
       ('a child has an index', (l.parent_id IS NULL) = (l.child_index IS NULL)),
       ('progress is a fraction', l.progress_done BETWEEN 0 AND l.progress_total),
       ('only pending keyed jobs are held', NOT l.held OR l.status = 'pending' AND l.limit_keys IS NOT NULL),
       ('a key has a limit', cardinality(l.limit_names) IS NOT DISTINCT FROM cardinality(l.limit_keys))) AS r(rule, holds)
 WHERE NOT r.holds;

-- What a user sees as one job: live and ended alike. A batch is as far as its children are.
CREATE VIEW workerctl.job AS
SELECT l.id, a.kind, a.queue, l.status, l.priority, l.attempt, l.max_attempts, l.failures, l.deaths, l.payload::jsonb AS payload,
       l.result, l.error, l.user_id, l.plan, l.parent_id, l.child_index, l.children_total, l.children_succeeded,
       l.children_dead, l.children_cancelled,
       CASE WHEN l.children_total > 0 THEN l.children_succeeded + l.children_dead + l.children_cancelled::bigint
            ELSE l.progress_done END AS progress_done,
       CASE WHEN l.children_total > 0 THEN l.children_total::bigint ELSE l.progress_total END AS progress_total,
       l.unique_key,
       l.created_at, l.run_at, l.started_at, NULL::timestamptz AS finished_at, w.host AS node,
       w.pool || '/' || w.slot AS worker, l.cancel_asked_at, l.held, l.limit_keys
  FROM workerctl.live l
  JOIN workerctl.lane a ON a.id = l.lane_id
  LEFT JOIN workerctl.worker w ON w.id = l.worker_id
UNION ALL
SELECT h.id, h.kind, h.queue, h.status, h.priority, h.attempt, h.max_attempts, h.failures, h.deaths, h.payload,
       h.result, h.error, h.user_id, h.plan, h.parent_id, h.child_index, h.children_total, h.children_succeeded,
       h.children_dead, h.children_cancelled,
       CASE WHEN h.children_total > 0 THEN h.children_succeeded + h.children_dead + h.children_cancelled::bigint
            ELSE h.progress_done END AS progress_done,
       CASE WHEN h.children_total > 0 THEN h.children_total::bigint ELSE h.progress_total END AS progress_total,
       h.unique_key,
       h.created_at, h.run_at, h.started_at, h.finished_at, h.node, h.worker, NULL::timestamptz, false, NULL::text[]
  FROM workerctl.history h;
