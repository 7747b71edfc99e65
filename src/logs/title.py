"""Names the process in `ps`."""

from __future__ import annotations

import importlib.util
from importlib.machinery import PathFinder


def set_title(title: str) -> None:
    """Set it through setproctitle's extension alone: the package would import logging, a megabyte."""
    package = importlib.util.find_spec("setproctitle")
    places = package.submodule_search_locations if package else None
    spec = PathFinder.find_spec("setproctitle._setproctitle", places) if places else None
    if spec is None or spec.loader is None:
        return  # no compiled extension on this platform: setproctitle itself does nothing then
    extension = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(extension)
    extension.setproctitle(title)
