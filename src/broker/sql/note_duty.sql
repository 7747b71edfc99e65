-- The primary has done one of its duties; `seconds` is how long that took.
INSERT INTO workerctl.duty AS d (name, every_seconds, last_run_at, last_seconds)
VALUES (%(name)s, %(every)s::double precision, now(), %(seconds)s::double precision)
    ON CONFLICT (name) DO UPDATE
       SET every_seconds = excluded.every_seconds, last_run_at = excluded.last_run_at, last_seconds = excluded.last_seconds
