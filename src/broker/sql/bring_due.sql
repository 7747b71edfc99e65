-- Jobs for later that are due now are seen by claims; how many.
SELECT workerctl.bring_due()
