"""Makes and stores the files of a picture: each is on its way into storage while the next is made."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from ..threads import begin_storing, computed
from .pipeline import PictureFile, finish

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...storage import Storage
    from .recipe import Recipe


async def finished(storage: Storage, picture: bytes | Image, recipe: Recipe) -> list[PictureFile]:
    """What `finish` makes, all of it stored. Raises UnreadableImage."""
    uploads: list[Future[Any]] = []

    def take(file: PictureFile) -> None:
        uploads.append(begin_storing(storage.put, file.key, file.content, content_type=file.content_type))

    files = await computed(finish, picture, recipe, take)
    await asyncio.gather(*map(asyncio.wrap_future, uploads))
    return files
