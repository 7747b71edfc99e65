"""`image.upscale`: a picture from storage, two to four times as large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .. import Context, Fail, WrongField, job
from ..storage import InvalidKey, ObjectMissing, ObjectTooLarge
from ..storage.interface import checked_key

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..settings import Settings

SIDE_LIMIT = 4096  # pixels of what is made: 67 MB while it is


class ImageUpscale(msgspec.Struct, frozen=True, kw_only=True):
    """A picture, by its key in storage, and how many times as wide and high it shall be."""

    source: Annotated[str, Meta(min_length=1)]
    factor: Literal[2, 3, 4] = 2
    format: Literal["png", "webp", "jpeg", "avif"] | None = None  # None: as [images] says


def check_source(payload: ImageUpscale, settings: Settings) -> None:  # noqa: ARG001 - every check is handed them
    """Raises WrongField for a key that no storage holds."""
    try:
        checked_key(payload.source)
    except InvalidKey as error:
        raise WrongField("source", str(error)) from None


@job("image.upscale", queue="image", timeout_seconds=900, check=check_source)
async def upscale(payload: ImageUpscale, ctx: Context) -> dict[str, Any]:
    """Enlarge and store it; progress by the tile. One to two seconds for 256x256 pixels of the source on one core."""
    from .image import kept
    from .pictures.recipe import recipe_for
    from .providers.local_upscale import NAME
    from .threads import computed

    recipe = recipe_for(ctx.settings.images, plan=ctx.job.plan, form=payload.format)
    large = await computed(_enlarged, ctx, payload, recipe.max_pixels)
    return {**await kept(ctx, large, recipe), "factor": payload.factor, "provider": NAME}


def _enlarged(ctx: Context, payload: ImageUpscale, max_pixels: int) -> Image:
    from .pictures.opening import SOURCE_LIMIT_BYTES, UnreadableImage, decode
    from .providers.local_upscale import enlarge

    def after_tile(done: int, total: int) -> None:
        ctx.raise_if_cancelled()
        ctx.progress(done, total)

    try:
        image = decode(ctx.storage.get(payload.source, limit_bytes=SOURCE_LIMIT_BYTES), max_pixels)
    except (ObjectMissing, ObjectTooLarge, UnreadableImage) as error:
        raise Fail(f"source {payload.source!r}: {error}") from None
    longest = max(image.size) * payload.factor
    if longest > SIDE_LIMIT:
        size = f"{image.width}x{image.height}"
        raise Fail(
            f"source {payload.source!r} is {size}: {longest} pixels are more than the {SIDE_LIMIT} that are made"
        )
    return enlarge(image, payload.factor, after_tile)
