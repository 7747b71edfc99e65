-- Gives back what every worker of this node holds that its supervisor lists neither alive nor lost. Workers that registered
-- after the agent began to ask are not judged: they are younger than the list.
SELECT workerctl.release_workers(
           ARRAY(SELECT id FROM workerctl.worker
                  WHERE node_id = %(node_id)s AND incarnation <> ALL (%(alive)s::text[])
                    AND started_at < %(since)s::timestamptz), died => true)
