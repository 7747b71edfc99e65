"""What is to become of a picture: format, variants and watermark, from the settings and the job's plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

Format = Literal["png", "webp", "jpeg", "avif"]

THUMBNAIL = "thumbnail"
THUMBNAIL_PIXELS = 256  # unless the settings have a variant of this name


class ImagesSettings(Protocol):
    """What the settings say about pictures: [images]."""

    @property
    def format(self) -> Format: ...
    @property
    def quality(self) -> int: ...
    @property
    def variants(self) -> Mapping[str, int]: ...
    @property
    def watermarks(self) -> Mapping[str, str]: ...
    @property
    def max_pixels(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Recipe:
    """The same picture and recipe give the same files."""

    format: Format
    quality: int  # of webp, jpeg and avif, 1 to 100
    variants: Mapping[str, int]  # name -> longest side in pixels; a thumbnail is always there
    watermark: str | None
    max_pixels: int  # of a picture that is decoded


def recipe_for(settings: ImagesSettings, *, plan: str | None = None, form: Format | None = None) -> Recipe:
    """The settings' recipe for a plan; `form` is what the job itself asks for."""
    return Recipe(
        format=form or settings.format,
        quality=settings.quality,
        variants={THUMBNAIL: THUMBNAIL_PIXELS, **settings.variants},
        watermark=settings.watermarks.get(plan or "") or None,
        max_pixels=settings.max_pixels,
    )
