-- Why a pending job has not begun, as far as its limits, its lane and its kind's pace tell; NULL for any other job.
SELECT workerctl.why_waiting(%(id)s::bigint)
