"""Makes .venv with what a script needs, and remembers it. Standard library only; runs on Python 3.6 to refuse it."""

import fcntl
import hashlib
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".stamp"
TEXTS = ROOT / ".cache" / "novels"  # where the demo and the tests look for the novels

OLDEST_PYTHON = (3, 11)
DEMO_EXTRAS = ("embedded", "content")
TEST_EXTRAS = ("embedded", "content", "video", "test")

APT_LISTS = Path("/var/lib/apt/lists")
APT_INSTALL = ("apt-get", "install", "-y", "--no-install-recommends", "python3-venv")


def ensure(extras):
    """The bin folder of a .venv that has the project with these extras; leaves with one line where it can't be.

    Under a second when nothing changed since the last time: pyproject.toml, the Python, the extras.
    """
    if sys.version_info < OLDEST_PYTHON:
        sys.exit(refusal(sys.version_info))
    if not is_satisfied(read_stamp(), fingerprint(), extras):
        with (ROOT / "pyproject.toml").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two scripts at once: the second finds the work done
            stamp = read_stamp()
            if not is_satisfied(stamp, fingerprint(), extras):
                set_up(wanted_extras(stamp, extras))
    return VENV / "bin"


def refusal(version):
    """What the user of an older Python has to install, in one line."""
    return (
        "workerctl needs Python {0} or later, and this is {1}.{2}: install python{0} and python{0}-venv "
        "(or a newer one), then run: python{0} {3}"
    ).format(".".join(map(str, OLDEST_PYTHON)), version[0], version[1], " ".join(sys.argv))


def fingerprint():
    """Changes whenever what is in .venv may be out of date."""
    content = (ROOT / "pyproject.toml").read_bytes()
    version = "{}.{}".format(*sys.version_info[:2])
    return hashlib.sha256(content + version.encode()).hexdigest()


def read_stamp():
    """What the last complete set-up left: its fingerprint and extras; empty when there was none."""
    try:
        return json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}


def is_satisfied(stamp, wanted_fingerprint, extras):
    """Whether what is installed serves these extras; a larger set serves a smaller one."""
    return stamp.get("fingerprint") == wanted_fingerprint and set(extras) <= set(stamp["extras"])


def wanted_extras(stamp, extras):
    """What to install: never less than there is, so that demo and test don't undo each other."""
    return sorted(set(extras) | set(stamp.get("extras", ())))


def set_up(extras):
    """Make .venv where it is missing or of another Python, install the project, leave the stamp."""
    since = time.monotonic()
    python = VENV / "bin" / "python"
    is_new = not is_usable(python)
    if is_new:
        need_ensurepip()
    say("setting up .venv, once: this takes less than a minute")
    if STAMP.exists():
        STAMP.unlink()
    if is_new:
        run([sys.executable, "-m", "venv", "--clear", str(VENV)])
    target = "{}[{}]".format(ROOT, ",".join(extras))
    # compat: a plain path entry; the finder that setuptools would install doubles the interpreter's start
    editable = ["--editable", target, "--config-settings", "editable_mode=compat"]
    run([str(python), "-m", "pip", "--disable-pip-version-check", "install", "-qq", *editable])
    partial = STAMP.with_name(".stamp.partial")
    partial.write_text(json.dumps({"fingerprint": fingerprint(), "extras": extras}))
    partial.replace(STAMP)
    say(f"ready after {time.monotonic() - since:.0f} s")


def is_usable(python):
    """Whether .venv is complete, works and is of the Python that runs us."""
    code = f"import sys, pip; sys.exit(sys.version_info[:2] != {tuple(sys.version_info[:2])!r})"
    try:
        return subprocess.run([str(python), "-c", code], stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def need_ensurepip():
    """Bare Debian and Ubuntu have python3 without ensurepip: root installs it, others get the line to type."""
    if importlib.util.find_spec("ensurepip") is not None:
        return
    if shutil.which("apt-get") is None:
        sys.exit(f"this Python has no ensurepip: install its venv package, then run {sys.argv[0]} again")
    if os.geteuid() != 0:
        sys.exit("python3-venv is missing; type: sudo {}".format(" ".join(APT_INSTALL)))
    say("installing python3-venv: this Python has no ensurepip")
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    if not any(APT_LISTS.glob("*_Packages*")):
        run(["apt-get", "update", "-q"], env=environment)
    run(list(APT_INSTALL), env=environment)
    importlib.invalidate_caches()
    if importlib.util.find_spec("ensurepip") is None:
        sys.exit(f"{sys.executable} is not the system's python3: run /usr/bin/python3 {sys.argv[0]}")


def run(command, env=None):
    """Run it with its output on our stderr; leaves with one line after what it printed when it fails."""
    try:
        done = subprocess.run(command, stdout=sys.stderr, env=env)
    except OSError as error:
        sys.exit(f"{command[0]} cannot be run: {error.strerror}")
    if done.returncode != 0:
        sys.exit("failed with exit code {}: {}".format(done.returncode, " ".join(command)))


def say(line):
    sys.stderr.write(f"{Path(sys.argv[0]).name}: {line}\n")
    sys.stderr.flush()


def become(command):
    """Go on as another program, under the same pid."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(str(command[0]), [str(word) for word in command])
