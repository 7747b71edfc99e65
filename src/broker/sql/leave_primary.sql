-- Ends the primary's lease where it is this agent's.
UPDATE workerctl.leadership SET lease_until = '-infinity', node_id = NULL WHERE agent = %(agent)s
