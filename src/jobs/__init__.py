"""The content jobs that ship. Importing this registers their kinds cheaply; heavy work is imported on first use."""

from __future__ import annotations

from . import characters, execution_log, image, novel

__all__ = ["characters", "execution_log", "image", "novel"]
