"""Commands by a Python that every user may run, as another user: what the tests' own interpreter cannot."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

from lifecycle_house import House

import workerctl

PYTHON = Path("/usr/bin/python3")  # the tests' own may lie below a closed home
SOMEBODY = 65534
PACKAGES = f"{Path(workerctl.__file__).parents[1]}:{sysconfig.get_path('purelib')}"


def as_somebody(house: House, *arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """One command by an ordinary user."""
    return by_system_python(house, *arguments, user=SOMEBODY, group=SOMEBODY, HOME="/nonexistent", **environ)


def by_system_python(
    house: House, *arguments: object, user: int | None = None, group: int | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PYTHON, "-c", "from workerctl.cli import main; main()", *map(str, arguments)],
        user=user,
        group=group,
        extra_groups=None if user is None else [],
        cwd=house.folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": PACKAGES, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def why_nobody_else() -> str | None:
    """Why this test cannot run; None where it can."""
    if os.geteuid() != 0:
        return "only root can become another user"
    tried = subprocess.run(
        [PYTHON, "-c", "import workerctl.cli.app, psycopg, msgspec"],
        user=SOMEBODY,
        env={"PYTHONPATH": PACKAGES},
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
    )
    if tried.returncode == 0:
        return None
    return f"{PYTHON} cannot run the tests' packages as another user: {tried.stderr[-200:]}"
