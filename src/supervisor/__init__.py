"""Processes: starts, watches, scales and stops them. Knows nothing of jobs, SQL or HTTP."""
