-- A task goes on from an instant before its last due time, under the primary's term.
UPDATE workerctl.schedule s SET last_due_at = %(at)s::timestamptz
 WHERE s.name = %(name)s AND s.last_due_at > %(at)s::timestamptz
   AND EXISTS (SELECT FROM workerctl.leadership l WHERE l.term = %(term)s::bigint AND l.lease_until > clock_timestamp())
