"""The seam between image.generate and whatever makes its picture."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image

    from ... import Context
    from ...settings import Settings

Notes = dict[str, str | bool]
# Encodes and stores a picture, as bytes or decoded; gives the job's result. Raises UnreadableImage.
Keep = Callable[["bytes | Image", Notes], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One picture that somebody wants. The same request gives the same picture where the provider can."""

    prompt: str
    seed: int
    width: int
    height: int
    source: Image | None = None  # a picture to start from, RGB


class ImageProvider(Protocol):
    """Makes one picture a call."""

    @property
    def name(self) -> str:
        """How results name this provider."""
        ...

    async def make(self, request: ImageRequest, ctx: Context, keep: Keep) -> dict[str, Any]:
        """What `keep` gave for the picture, in this or an earlier attempt: who is paid makes a picture once a job.

        Raises Fail where no later attempt can succeed, Retry or Snooze where one may.
        """
        ...


def image_provider(kind: str, settings: Settings) -> ImageProvider:
    """Whoever serves this kind: the configured account, else this machine."""
    from .account import account_for

    account = account_for(kind, settings)
    if account is None:
        from .local_render import local_render

        return local_render()
    if account.settings.type == "fal":
        from .fal_images import FalImages

        return FalImages(account)
    from .openai_images import OpenAIImages

    return OpenAIImages(account)
