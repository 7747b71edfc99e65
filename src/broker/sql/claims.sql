-- What one worker holds: asked after a reconnect, since an answer may have been lost on the way.
SELECT id, attempt FROM workerctl.live WHERE worker_id = %s::bigint
