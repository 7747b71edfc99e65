-- In how many seconds a job that waits for nothing but its time or a rate may start; NULL where there is none.
SELECT extract(epoch FROM min(f.at) - clock_timestamp())::double precision
  FROM (SELECT to_timestamp((later.rank - workerctl.later()) / 256 / 1000.0) AS at
          FROM workerctl.lane a
         CROSS JOIN LATERAL (SELECT l.rank FROM workerctl.live l
                              WHERE l.lane_id = a.id AND l.status = 'pending' AND NOT l.held AND l.deaths = 0
                                AND l.rank >= workerctl.later()
                              ORDER BY l.rank, l.id LIMIT 1) later
         WHERE NOT a.paused
        UNION ALL
        SELECT max(room.again_at)
          FROM workerctl.lane a
          JOIN workerctl.rates m ON m.name IN (a.kind, split_part(a.kind, '.', 1))
         CROSS JOIN LATERAL workerctl.rate_room(m.name, m.name) room
         CROSS JOIN LATERAL (SELECT 1 FROM workerctl.live l
                              WHERE l.lane_id = a.id AND l.status = 'pending' AND NOT l.held AND l.deaths = 0
                                AND l.rank < workerctl.later()
                              ORDER BY l.rank, l.id LIMIT 1) due
         WHERE EXISTS (SELECT FROM workerctl.rates) AND NOT a.paused AND room.free <= 0  -- without any no lane is looked into
         GROUP BY a.id
        UNION ALL
        SELECT min(u.free_at) FROM workerctl.used_up u) f
