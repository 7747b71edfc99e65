-- Makes a worker known, with the kinds it can run, and starts its lease.
SELECT workerctl.register_worker(
           incarnation => me.incarnation, node_id => me.node_id, host => me.host, pool => me.pool, slot => me.slot,
           pid => me.pid, kinds => %(kinds)s::jsonb, queues => me.queues, excluded_queues => me.excluded_queues,
           lease_seconds => me.lease_seconds, schema => me.schema, seats => me.seats)
  FROM jsonb_to_record(%(worker)s::jsonb) AS me (
           incarnation text, node_id text, host text, pool text, slot integer, pid integer, queues text[],
           excluded_queues text[], lease_seconds double precision, schema integer, seats integer)
