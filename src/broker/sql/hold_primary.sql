-- Takes or renews the primary's lease: the term while it is this agent's, else no row.
SELECT workerctl.hold_primary(agent => %(agent)s, node => %(node_id)s, lease_seconds => %(lease_seconds)s::double precision)
