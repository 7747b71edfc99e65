-- Changes one limit for the whole fleet.
SELECT workerctl.set_limit(%(name)s, %(most)s::integer)
