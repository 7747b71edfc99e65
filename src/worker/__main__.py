"""`python -m workerctl.worker POOL MODULE...`: the template, and its first imports without looking for garbage in them.

There is next to none, and looking takes a tenth of the time; `load_modules` lets it begin again.
"""

from __future__ import annotations

import gc
import sys

gc.disable()

from .template import main  # noqa: E402

sys.exit(main())
