"""Importing this registers every shipped kind, cheaply; heavy work is imported on first use."""

from __future__ import annotations

from . import characters, execution_log, image, novel, orphans, sheet, text_generation, upscale, video

__all__ = ["characters", "execution_log", "image", "novel", "orphans", "sheet", "text_generation", "upscale", "video"]
