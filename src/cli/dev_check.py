"""`python -m workerctl.cli.dev_check`: imports the job modules as a template would, and exits with what it found."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from ..contract import ENV_SETTINGS, Exit, WorkerctlError
from ..settings import restore
from ..worker.load import check_forkable, load_modules, open_descriptors


def main() -> int:
    """0 where the code on disk can be forked; else its traceback and one line on stderr."""
    try:
        settings, own = restore(Path(os.environ[ENV_SETTINGS])), open_descriptors()
        load_modules(settings, warm=False, after_each=lambda name: check_forkable(name, own))
    except WorkerctlError as error:
        if error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return Exit.DONE


if __name__ == "__main__":
    sys.exit(main())
