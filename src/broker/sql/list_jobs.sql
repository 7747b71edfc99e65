-- Newest jobs first, live and ended alike, that match every filter given. Each half is read from its newest backwards,
-- which the planner does not find out through the view, and only where the status may be found there.
SELECT id, kind, queue, status::text AS status, priority, attempt, max_attempts, payload, result, error, user_id, plan,
       parent_id, progress_done, progress_total, created_at, run_at, started_at, finished_at, node, worker
  FROM ((SELECT l.id, a.kind, a.queue, l.status, l.priority, l.attempt, l.max_attempts, l.payload::jsonb AS payload, l.result,
                l.error, l.user_id, l.plan, l.parent_id,
                CASE WHEN l.children_total > 0 THEN l.children_succeeded + l.children_dead + l.children_cancelled::bigint
                     ELSE l.progress_done END AS progress_done,
                CASE WHEN l.children_total > 0 THEN l.children_total::bigint ELSE l.progress_total END AS progress_total,
                l.created_at, l.run_at,
                l.started_at, NULL::timestamptz AS finished_at, w.host AS node, w.pool || '/' || w.slot AS worker
           FROM workerctl.live l
           JOIN workerctl.lane a ON a.id = l.lane_id
           LEFT JOIN workerctl.worker w ON w.id = l.worker_id
          WHERE (%(status)s::text IS NULL OR l.status = %(status)s::text::workerctl.job_status)
            AND (%(status)s::text IS NULL OR %(status)s::text IN ('pending', 'running', 'waiting'))
            AND (%(status)s::text IS DISTINCT FROM 'running' OR l.worker_id IS NOT NULL)  -- for the indexes' sake, as the next
            AND (%(status)s::text IS DISTINCT FROM 'waiting' OR l.status = 'waiting')
            AND (%(kind)s::text IS NULL OR a.kind = %(kind)s::text)
            AND (%(user_id)s::text IS NULL OR l.user_id = %(user_id)s::text)
            AND (%(parent_id)s::bigint IS NULL OR l.parent_id = %(parent_id)s::bigint)
          ORDER BY l.id DESC
          LIMIT %(limit)s::integer)
         UNION ALL
        (SELECT h.id, h.kind, h.queue, h.status, h.priority, h.attempt, h.max_attempts, h.payload, h.result,
                h.error, h.user_id, h.plan, h.parent_id,
                CASE WHEN h.children_total > 0 THEN h.children_succeeded + h.children_dead + h.children_cancelled::bigint
                     ELSE h.progress_done END AS progress_done,
                CASE WHEN h.children_total > 0 THEN h.children_total::bigint ELSE h.progress_total END AS progress_total,
                h.created_at, h.run_at,
                h.started_at, h.finished_at, h.node, h.worker
           FROM workerctl.history h
          WHERE (%(status)s::text IS NULL OR h.status = %(status)s::text::workerctl.job_status)
            AND (%(status)s::text IS NULL OR %(status)s::text IN ('succeeded', 'dead', 'cancelled'))
            AND (%(status)s::text IS DISTINCT FROM 'dead' OR h.status = 'dead')
            AND (%(kind)s::text IS NULL OR h.kind = %(kind)s::text)
            AND (%(kind)s::text IS NULL OR EXISTS (SELECT FROM workerctl.lane a WHERE a.kind = %(kind)s::text))  -- else all is read
            AND (%(user_id)s::text IS NULL OR h.user_id = %(user_id)s::text)
            AND (%(parent_id)s::bigint IS NULL OR h.parent_id = %(parent_id)s::bigint)
          ORDER BY h.id DESC
          LIMIT %(limit)s::integer)) AS newest
 ORDER BY id DESC
 LIMIT %(limit)s::integer
