"""The first frame of a video, by FFmpeg's libraries where the extra `video` is installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from PIL.Image import Image


class NoFrame(Exception):
    """There is none to be had; the message says why, in one line."""


def first_frame(path: Path, max_pixels: int) -> Image:
    """As RGB. Raises NoFrame, also for a video of more than `max_pixels` a frame, before it is decoded."""
    try:
        import av
    except ModuleNotFoundError:
        raise NoFrame("pip install 'workerctl[video]' for pictures of videos") from None
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            if stream.width * stream.height > max_pixels:
                raise NoFrame(f"{stream.width}x{stream.height} pixels; at most {max_pixels:,} are decoded")
            frames: Any = container.decode(stream)  # its `to_image` has no types
            for frame in frames:
                return cast("Image", frame.to_image())
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise NoFrame(f"its first frame cannot be decoded: {str(error).splitlines()[0]}") from None
    raise NoFrame("it has no frame")
