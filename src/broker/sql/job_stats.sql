-- Work that is not done, and what ended within the last hour, per queue and kind.
SELECT queue, kind,
       coalesce(sum(jobs) FILTER (WHERE status = 'pending'), 0)::bigint AS pending,
       coalesce(sum(jobs) FILTER (WHERE status = 'running'), 0)::bigint AS running,
       coalesce(sum(jobs) FILTER (WHERE status = 'waiting'), 0)::bigint AS waiting,
       coalesce(sum(jobs) FILTER (WHERE status = 'succeeded'), 0)::bigint AS succeeded,
       coalesce(sum(jobs) FILTER (WHERE status = 'dead'), 0)::bigint AS dead,
       coalesce(sum(jobs) FILTER (WHERE status = 'cancelled'), 0)::bigint AS cancelled
  FROM (SELECT a.queue, a.kind, l.status, count(*) AS jobs
          FROM workerctl.live l JOIN workerctl.lane a ON a.id = l.lane_id
         GROUP BY a.queue, a.kind, l.status
        UNION ALL
        SELECT queue, kind, status, count(*) FROM workerctl.history
         WHERE finished_at > now() - interval '1 hour'
         GROUP BY queue, kind, status) AS counted
 GROUP BY queue, kind
 ORDER BY queue, kind
