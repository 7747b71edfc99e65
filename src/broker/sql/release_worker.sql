-- Gives back what one worker holds and forgets it; a second call finds nothing.
SELECT workerctl.release_workers(
           ARRAY(SELECT id FROM workerctl.worker WHERE incarnation = %(incarnation)s), died => %(died)s::boolean,
           words => %(words)s::text)
