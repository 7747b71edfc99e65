"""The seam between image.generate and whatever makes its picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One picture that somebody wants. The same request gives the same picture where the provider can."""

    prompt: str
    seed: int
    width: int
    height: int
    source: Image | None = None  # a picture to start from, RGB


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture of the size that was asked for, RGB, and what is worth knowing about its making."""

    image: Image
    notes: dict[str, str | bool]


class ImageProvider(Protocol):
    """Makes one picture a call; may be called from several threads at once."""

    @property
    def name(self) -> str:
        """How results name this provider."""
        ...

    def make(self, request: ImageRequest) -> Picture:
        """The picture. Raises Fail where no later attempt can succeed, Retry where one may."""
        ...
