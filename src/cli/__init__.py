"""The command line: typer, one file per group of commands; everything else is imported by the command that needs it."""

from __future__ import annotations

import errno
import gc
import io
import sys

# What the machine refuses: a matter of rights, space and names, which no traceback explains
_REFUSALS = frozenset(
    (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EISDIR,
     errno.ENAMETOOLONG, errno.ELOOP, errno.EMFILE, errno.ENFILE)
)  # fmt: skip


def main() -> None:
    """The console script. Errors of ours are one line on stderr and their own exit code; bugs keep their traceback."""
    from . import ahead

    ahead.begin(sys.argv[1:])
    gc.disable()  # nothing of what is imported is garbage, and to look for it, now or at the end, takes 15 ms
    from ..contract import Exit, WorkerctlError
    from .app import make_app

    app = make_app(sys.argv[1:])
    gc.freeze()
    gc.enable()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what the terminal's encoding lacks is told, and no traceback
            stream.reconfigure(errors="backslashreplace")
    try:
        app(standalone_mode=True)
    except WorkerctlError as error:
        has_advice = error.exit_code != Exit.UNREACHABLE or ";" in str(error)
        advice = "" if has_advice else "; see `workerctl doctor`"
        sys.stderr.write(f"workerctl: {error}{advice}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has left, as `| head` does
        sys.exit(Exit.FAILED)
    except FileNotFoundError as error:
        if error.filename is not None:
            raise
        sys.stderr.write("workerctl: the current folder is gone; go to one that is there\n")
        sys.exit(Exit.FAILED)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        sys.stderr.write(f"workerctl: {error.filename or 'the system'}: {error.strerror}\n")
        sys.exit(Exit.FAILED)
    finally:
        ahead.end()
