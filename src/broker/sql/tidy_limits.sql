-- Removes what counts no more and lets in whoever waits beside a free seat.
SELECT workerctl.tidy_limits()
