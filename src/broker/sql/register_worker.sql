-- Makes a worker known, with the kinds it can run, and starts its lease.
SELECT workerctl.register_worker(
           incarnation => %(incarnation)s, node_id => %(node_id)s, host => %(host)s, pool => %(pool)s,
           slot => %(slot)s::integer, pid => %(pid)s::integer, kinds => %(kinds)s::jsonb, queues => %(queues)s::text[],
           excluded_queues => %(excluded_queues)s::text[], lease_seconds => %(lease_seconds)s::double precision,
           schema => %(schema)s::integer)
