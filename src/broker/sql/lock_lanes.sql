-- Waits for whoever is making a lane, and lets nobody else begin to before this transaction ends.
LOCK TABLE workerctl.lane IN SHARE ROW EXCLUSIVE MODE
