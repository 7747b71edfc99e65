-- Adds what workers said about their runs up to longer spans, and forgets what `jobs stats` does not look back to.
SELECT workerctl.tidy_stats()
