-- Everything about one job, and whether any living worker knows its kind and serves its queue.
SELECT j.id, j.kind, j.queue, j.status::text AS status, j.priority, j.attempt, j.max_attempts, j.failures, j.deaths,
       j.payload, j.result, j.error, j.user_id, j.plan, j.parent_id, j.child_index, j.children_total,
       j.children_succeeded, j.children_dead, j.children_cancelled, j.progress_done, j.progress_total, j.unique_key,
       j.created_at, j.run_at, j.started_at, j.finished_at, j.node, j.worker, j.cancel_asked_at, j.held, j.limit_keys,
       extract(epoch FROM j.run_at - now())::double precision AS due_in_seconds,
       EXISTS (SELECT FROM workerctl.worker w WHERE w.lease_until > now()) AS any_worker,
       EXISTS (SELECT FROM workerctl.worker w WHERE w.lease_until > now() AND j.kind = ANY (w.kinds)) AS kind_known,
       EXISTS (SELECT FROM workerctl.worker w
                WHERE w.lease_until > now() AND j.kind = ANY (w.kinds)
                  AND CASE WHEN w.queues IS NULL THEN j.queue <> ALL (w.excluded_queues)
                           ELSE j.queue = ANY (w.queues) END) AS served,
       EXISTS (SELECT FROM workerctl.queue q WHERE q.name = j.queue AND q.paused_at IS NOT NULL) AS paused,
       (SELECT json_build_object('name', p.name, 'seconds', workerctl.pause_left(p.name), 'reason', p.reason)
          FROM workerctl.lane a JOIN workerctl.provider p ON p.name = a.provider
         WHERE a.queue = j.queue AND a.kind = j.kind AND p.paused_until > now() LIMIT 1) AS paused_provider
  FROM workerctl.job j
 WHERE j.id = %(id)s::bigint
