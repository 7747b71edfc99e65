-- Removes what counts no more and lets in whoever waits beside a free seat, a bounded number of keys at once.
SELECT workerctl.tidy_limits(%s::text)
