-- Renews this node's lease; gives up workers whose lease ended where this node is steady enough to judge.
SELECT workerctl.renew_node(
           node_id => %(node_id)s, host => %(host)s, version => %(version)s, cores => %(cores)s::integer,
           lease_seconds => %(lease_seconds)s::double precision, schema => %(schema)s::integer, place => %(place)s)
