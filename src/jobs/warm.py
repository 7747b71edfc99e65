"""Imports the libraries that the shipped jobs use, so that workers forked from the template share their memory.

For the template alone: `workerctl.jobs` by itself stays cheap for commands that only validate payloads. jieba
is left out, because its dictionary takes 60 MB that only workers which extract Chinese names need.
"""

from __future__ import annotations

import boto3
import charset_normalizer
import httpx
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter
import PIL.ImageFont
import PIL.PngImagePlugin
import PIL.WebPImagePlugin

from .providers import local_render
from .text import chapters, cutting, decoding

__all__ = ["PIL", "boto3", "chapters", "charset_normalizer", "cutting", "decoding", "httpx", "local_render"]
