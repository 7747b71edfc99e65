-- A worker has connected: what it holds, asked since an answer may have been lost on the way, and what fences the rest.
SELECT workerctl.resume(%s::bigint, %s::text)::text
