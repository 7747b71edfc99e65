-- What the primary does of itself beside scheduled tasks, with when it last did and how long that took.
CREATE TABLE workerctl.duty (
    name          text PRIMARY KEY,
    every_seconds double precision NOT NULL,
    last_run_at   timestamptz NOT NULL,
    last_seconds  double precision NOT NULL
);
