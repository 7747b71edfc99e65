"""Imports the libraries that the shipped jobs use, so that workers forked from the template share their memory.

For the template alone: `workerctl.jobs.shipped` by itself stays cheap for commands that only validate payloads. jieba
is left out, because its dictionary takes 60 MB that only workers which extract Chinese names need, and
charset_normalizer, which only words an error.
"""

from __future__ import annotations

import sys
from typing import Any, cast

import boto3
import h2.connection
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter
import PIL.ImageFont

from . import shipped
from .pictures import pipeline
from .providers import local_render
from .text import chapters, cutting, decoding


def _import_httpx() -> None:
    """Without its command line: where click is installed httpx imports that, rich and pygments, 4 MB for nothing."""
    modules = cast(dict[str, Any], sys.modules)
    missing = object()
    click = modules.get("click", missing)
    modules["click"] = None  # what `import click` takes for not installed
    try:
        import httpx  # noqa: F401  to be shared
    finally:
        if click is missing:
            del modules["click"]
        else:
            modules["click"] = click


_import_httpx()

__all__ = ["PIL", "boto3", "chapters", "cutting", "decoding", "h2", "local_render", "pipeline", "shipped"]
