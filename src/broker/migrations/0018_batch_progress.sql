-- A batch is as far as its children are: its progress is theirs, whoever asks.

CREATE OR REPLACE VIEW workerctl.job AS
SELECT l.id, a.kind, a.queue, l.status, l.priority, l.attempt, l.max_attempts, l.failures, l.deaths, l.payload::jsonb AS payload,
       l.result, l.error, l.user_id, l.plan, l.parent_id, l.child_index, l.children_total, l.children_succeeded,
       l.children_dead, l.children_cancelled,
       CASE WHEN l.children_total > 0 THEN l.children_succeeded + l.children_dead + l.children_cancelled::bigint
            ELSE l.progress_done END AS progress_done,
       CASE WHEN l.children_total > 0 THEN l.children_total::bigint ELSE l.progress_total END AS progress_total,
       l.unique_key,
       l.created_at, l.run_at, l.started_at, NULL::timestamptz AS finished_at, w.host AS node,
       w.pool || '/' || w.slot AS worker, l.cancel_asked_at, l.held, l.limit_keys
  FROM workerctl.live l
  JOIN workerctl.lane a ON a.id = l.lane_id
  LEFT JOIN workerctl.worker w ON w.id = l.worker_id
UNION ALL
SELECT h.id, h.kind, h.queue, h.status, h.priority, h.attempt, h.max_attempts, h.failures, h.deaths, h.payload,
       h.result, h.error, h.user_id, h.plan, h.parent_id, h.child_index, h.children_total, h.children_succeeded,
       h.children_dead, h.children_cancelled,
       CASE WHEN h.children_total > 0 THEN h.children_succeeded + h.children_dead + h.children_cancelled::bigint
            ELSE h.progress_done END AS progress_done,
       CASE WHEN h.children_total > 0 THEN h.children_total::bigint ELSE h.progress_total END AS progress_total,
       h.unique_key,
       h.created_at, h.run_at, h.started_at, h.finished_at, h.node, h.worker, NULL::timestamptz, false, NULL::text[]
  FROM workerctl.history h;
