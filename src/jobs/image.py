"""`image.batch` fans out, `image.generate` makes one picture with its thumbnail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .. import Context, Fail, job
from ..storage import InvalidKey, ObjectMissing, ObjectTooLarge

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..storage import Storage
    from .providers.image import ImageProvider

PLAN_COUNTS = {"free": 2, "start": 20, "pro": 50}
SEEDS = 2**32

Prompt = Annotated[str, Meta(min_length=1, max_length=4000, pattern=r"\S")]
Pixels = Annotated[int, Meta(ge=64, le=2048)]
Seed = Annotated[int, Meta(ge=0, lt=SEEDS)]
Format = Literal["png", "webp", "jpeg", "avif"]


class ImageBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Several pictures of one prompt. Without `count` as many as the job's plan has; without `seed` the job's id."""

    prompt: Prompt
    count: Annotated[int, Meta(ge=1, le=50)] | None = None
    seed: Seed | None = None
    width: Pixels = 512
    height: Pixels = 512
    format: Format | None = None  # None: as [images] says
    source: str | None = None


class ImageGenerate(msgspec.Struct, frozen=True, kw_only=True):
    """One picture; `source` is the storage key of one to start from, `batch` the job that asked for it."""

    prompt: Prompt
    seed: Seed = 0
    width: Pixels = 512
    height: Pixels = 512
    format: Format | None = None  # None: as [images] says
    source: str | None = None
    index: Annotated[int, Meta(ge=0)] = 0
    batch: int | None = None


@job("image.batch", queue="image", timeout_seconds=60)
def batch(payload: ImageBatch, ctx: Context) -> dict[str, Any]:
    """Enqueue a child for each picture. Every child has a seed of its own, the same at every attempt."""
    count = _count(payload.count, ctx.job.plan)
    first_seed = ctx.job.id if payload.seed is None else payload.seed
    for index in range(count):
        child = ImageGenerate(
            prompt=payload.prompt,
            seed=(first_seed + index) % SEEDS,
            width=payload.width,
            height=payload.height,
            format=payload.format,
            source=payload.source,
            index=index,
            batch=ctx.job.id,
        )
        ctx.enqueue("image.generate", child, child=True, queue=ctx.job.queue)
    return {"images": count, "seed": first_seed}


@job("image.generate", queue="image", timeout_seconds=300)
def generate(payload: ImageGenerate, ctx: Context) -> dict[str, Any]:
    """Make, encode and store one picture; a second run of the same payload writes the same objects."""
    from .pictures.pipeline import finish
    from .pictures.recipe import THUMBNAIL, recipe_for
    from .providers.image import ImageRequest

    provider = _provider()
    recipe = recipe_for(ctx.settings.images, plan=ctx.job.plan, form=payload.format)
    source = _source(ctx.storage, payload.source, recipe.max_pixels) if payload.source is not None else None
    picture = provider.make(
        ImageRequest(payload.prompt, payload.seed, payload.width, payload.height, source)
    )  # fmt: skip
    ctx.raise_if_cancelled()
    files = finish(picture.image, recipe)
    for file in files:
        ctx.storage.put(file.key, file.content, content_type=file.content_type)
    whole, *variants = files
    keys = {file.name: file.key for file in variants}
    return {
        "key": whole.key,
        "thumbnail": keys.pop(THUMBNAIL),
        "variants": keys,
        "width": whole.width,
        "height": whole.height,
        "format": recipe.format,
        "bytes": len(whole.content),
        "seed": payload.seed,
        "index": payload.index,
        "provider": provider.name,
        **picture.notes,
    }


def _count(asked: int | None, plan: str | None) -> int:
    if asked is not None:
        return asked
    if plan is not None and plan not in PLAN_COUNTS:
        plans = ", ".join(PLAN_COUNTS)
        raise Fail(f"plan {plan!r} says no number of images ({plans} do); give `count`")
    return PLAN_COUNTS[plan or "free"]


def _provider() -> ImageProvider:
    from .providers.local_render import local_render

    return local_render()


def _source(storage: Storage, key: str, max_pixels: int) -> Image:
    from .pictures.opening import SOURCE_LIMIT_BYTES, UnreadableImage, decode

    try:
        return decode(storage.get(key, limit_bytes=SOURCE_LIMIT_BYTES), max_pixels)
    except (ObjectMissing, ObjectTooLarge, InvalidKey) as error:
        raise Fail(f"source: {error}") from None
    except UnreadableImage as error:
        raise Fail(f"source {key!r}: {error}") from None
