"""`python -m workerctl.cli`: the console script without its path, for our own processes."""

from __future__ import annotations

from . import main

main()
