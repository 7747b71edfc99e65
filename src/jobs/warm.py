"""Imports the libraries that the shipped jobs use, so that workers forked from the template share their memory.

For the template alone: `workerctl.jobs.shipped` by itself stays cheap for commands that only validate payloads. jieba
is left out, because its dictionary takes 60 MB that only workers which extract Chinese names need, and
charset_normalizer, which only words an error.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, cast

import h2.connection
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter
import PIL.ImageFont

from . import shipped
from .pictures import pipeline
from .providers import local_render
from .text import chapters, cutting, decoding


@contextlib.contextmanager
def _instead(name: str, module: ModuleType | None) -> Iterator[None]:
    """Whoever imports the module of this name meanwhile gets `module`; None is what is not installed."""
    modules = cast(dict[str, Any], sys.modules)
    before = {name: modules[name]} if name in modules else {}
    modules[name] = module
    try:
        yield
    finally:
        del modules[name]
        modules.update(before)


def _import_httpx() -> None:
    """Without its command line: where click is installed httpx imports that, rich and pygments, 4 MB for nothing."""
    with _instead("click", None):
        import httpx  # noqa: F401  to be shared


def _import_boto3() -> None:
    """Without managers of processes, which s3transfer imports for a pool of processes that nobody begins: 1.2 MB.

    Whoever does begin one finds them.
    """
    managers = ModuleType("multiprocessing.managers")
    managers.BaseManager = object  # type: ignore[attr-defined]
    with _instead(managers.__name__, managers):
        import boto3  # noqa: F401  to be shared
    from s3transfer import compat

    def when_wanted(name: str) -> Any:
        if name != "BaseManager":
            raise AttributeError(f"module {compat.__name__!r} has no attribute {name!r}")
        from multiprocessing.managers import BaseManager

        return BaseManager

    del compat.BaseManager
    compat.__getattr__ = when_wanted


_import_httpx()
_import_boto3()

__all__ = ["PIL", "chapters", "cutting", "decoding", "h2", "local_render", "pipeline", "shipped"]
