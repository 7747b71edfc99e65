-- Inserts jobs given as a JSON array and returns their ids in its order.
SELECT workerctl.enqueue_many(%s::jsonb)
