"""Imports the job modules, and checks that what they left behind can be forked."""

from __future__ import annotations

import gc
import importlib
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from ..contract import Unusable, WorkerctlError
from ..handler import know_settings
from ..settings import Settings, settings_of_pool
from ..settings.pools import modules_key, one_of_each_code

WORDS_LIMIT_CHARACTERS = 500


class ImportFailed(WorkerctlError):
    """A job module raised while it was imported; its traceback is on stderr."""


def load_modules(
    settings: Settings,
    *,
    warm: bool,
    after_each: Callable[[str], None] = lambda _name: None,
    key: str = "jobs.modules",
) -> None:
    """Import every configured module and the shipped jobs, so that their handlers are registered.

    `warm` also imports what the shipped jobs use at run time, to be shared by every worker forked from here.
    `after_each` is told the name of each module once it is imported. `key` is where the modules were configured.
    Raises Unusable for a module that does not exist, ImportFailed for one that raises.
    """
    know_settings(settings)
    for folder in reversed(settings.jobs.path):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    gc.disable()  # nothing of what we import is garbage, and to look for it costs a tenth of the time,
    try:
        _import(_ours(settings, warm), settings.jobs.path, key)
    finally:
        gc.freeze()  # now or later: 30 ms
        gc.enable()
    for name in [_ours(settings, warm), *settings.jobs.modules]:
        _import(name, settings.jobs.path, key)
        after_each(name)


def load_each_pool(settings: Settings) -> Iterator[str]:
    """Import what one pool after the other does, each as if it were alone, so that every handler is registered: the
    name of a pool after its modules, once for all that import the same. Raises as `load_modules`.

    Two pools may have modules of the same name in different folders, so each one's are forgotten before the next.
    """
    for name in one_of_each_code(settings.pools):
        path, known = sys.path.copy(), set(sys.modules)
        own = settings_of_pool(settings, name)
        try:
            load_modules(own, warm=False, key=modules_key(settings, name))
            yield name
        finally:
            sys.path[:] = path
            folders = tuple(f"{Path(folder).resolve()}/" for folder in own.jobs.path)
            for module in set(sys.modules) - known:
                if is_below(sys.modules[module], folders):
                    del sys.modules[module]


def is_below(module: object, folders: tuple[str, ...]) -> bool:
    """Whether this module's source lies below one of the folders and is no installed package's."""
    source = getattr(module, "__file__", None)
    if not isinstance(source, str):
        return False
    path = Path(source).resolve()
    return str(path).startswith(folders) and "site-packages" not in path.parts


def _ours(settings: Settings, warm: bool) -> str:
    if not settings.jobs.shipped:
        return "workerctl.jobs.execution_log"  # ctx.log is everybody's
    return "workerctl.jobs.warm" if warm else "workerctl.jobs.shipped"


def check_forkable(name: str, own_descriptors: set[int]) -> None:
    """Raises Unusable where the import of this module left a thread or a socket: neither survives a fork whole."""
    others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if others:
        raise Unusable(
            f"{name} started the thread {others[0]!r} while it was imported; start it in the handler instead"
        )
    tasks = Path("/proc/self/task")
    if tasks.is_dir() and len(list(tasks.iterdir())) > 1:
        raise Unusable(f"{name} started a native thread while it was imported; start it in the handler instead")
    for descriptor in open_descriptors() - own_descriptors:
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise Unusable(f"{name} opened a socket while it was imported; open it in the handler instead")


def open_descriptors() -> set[int]:
    """Every open descriptor of this process."""
    found = set()
    for entry in os.listdir("/dev/fd"):  # noqa: PTH208  Path would keep the listing's own descriptor open
        try:
            os.fstat(int(entry))
        except OSError:
            continue
        found.add(int(entry))
    return found


def _import(name: str, path: tuple[str, ...], key: str) -> None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise Unusable(f"{key}: there is no module {name!r} in {', '.join(path)}") from None
        raise ImportFailed(_words(name, error)) from error
    except (Exception, SystemExit) as error:  # a script that parses arguments or leaves where it should only define
        raise ImportFailed(_words(name, error)) from error


def _words(name: str, error: BaseException) -> str:
    return f"importing {name} failed: {type(error).__name__}: {error}"[:WORDS_LIMIT_CHARACTERS]
