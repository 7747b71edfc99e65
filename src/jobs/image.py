"""`image.batch`, `image.generate`: pictures from a prompt, a job each, so that each is made, paid and retried alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .. import Context, Fail, WrongField, job
from ..storage import InvalidKey, ObjectMissing, ObjectTooLarge

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..settings import Settings
    from ..storage import Storage
    from .pictures.recipe import Recipe

PLAN_COUNTS = {"free": 2, "start": 20, "pro": 50}
SEEDS = 2**32
SIDE = 512  # pixels, where neither the job nor its provider says a size

Prompt = Annotated[str, Meta(min_length=1, max_length=4000, pattern=r"\S")]
Pixels = Annotated[int, Meta(ge=64, le=2048)]
Seed = Annotated[int, Meta(ge=0, lt=SEEDS)]
Format = Literal["png", "webp", "jpeg", "avif"]


class ImageBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Several pictures of one prompt. Without `count` as many as the job's plan has; without `seed` the job's id."""

    prompt: Prompt
    count: Annotated[int, Meta(ge=1, le=50)] | None = None
    seed: Seed | None = None
    width: Pixels | None = None  # None, as the height: the provider's first size, else 512
    height: Pixels | None = None
    format: Format | None = None  # None: as [images] says
    source: str | None = None


class ImageGenerate(msgspec.Struct, frozen=True, kw_only=True):
    """One picture; `source` is the storage key of one to start from, `batch` the job that asked for it."""

    prompt: Prompt
    seed: Seed = 0
    width: Pixels | None = None
    height: Pixels | None = None
    format: Format | None = None  # None: as [images] says
    source: str | None = None
    index: Annotated[int, Meta(ge=0)] = 0
    batch: int | None = None


def check_image(payload: ImageBatch | ImageGenerate, settings: Settings) -> None:
    """What the provider that would make it cannot do. Raises WrongField."""
    from ..storage.interface import checked_key
    from .providers.account import account_for

    account = account_for("image.generate", settings)
    if payload.source is not None:
        if account is not None:
            raise WrongField("source", f"provider {account.name} makes pictures of words alone")
        try:
            checked_key(payload.source)
        except InvalidKey as error:
            raise WrongField("source", str(error)) from None
    sizes = account.settings.sizes if account is not None else ()
    width, height = size_of(payload, sizes)
    if sizes and f"{width}x{height}" not in sizes:
        assert account is not None
        wrong = "width" if not any(size.startswith(f"{width}x") for size in sizes) else "height"
        raise WrongField(wrong, f"provider {account.name} has no size {width}x{height}; it has {', '.join(sizes)}")


def size_of(payload: ImageBatch | ImageGenerate, sizes: tuple[str, ...]) -> tuple[int, int]:
    """Width and height as asked for; what is not said is as the provider's first size has it."""
    width, height = (int(side) for side in sizes[0].split("x")) if sizes else (SIDE, SIDE)
    return payload.width or width, payload.height or height


@job("image.batch", queue="image", timeout_seconds=60, check=check_image)
async def batch(payload: ImageBatch, ctx: Context) -> dict[str, Any]:
    """Enqueue a child for each picture. Every child has a seed of its own, the same at every attempt."""
    await _raise_if_used_up(ctx)
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
    ctx.on_done("image.sheet", {"title": payload.prompt}, queue=ctx.job.queue)
    return {"images": count, "seed": first_seed}


@job("image.generate", queue="image", timeout_seconds=300, check=check_image)
async def generate(payload: ImageGenerate, ctx: Context) -> dict[str, Any]:
    """Make, encode and store one picture. An attempt that follows another gets what that one had paid for."""
    from .pictures.recipe import recipe_for
    from .pictures.turns import keep_no_large_blocks
    from .providers.account import account_for
    from .providers.image import ImageRequest, Notes, image_provider
    from .threads import stored

    keep_no_large_blocks()
    recipe = recipe_for(ctx.settings.images, plan=ctx.job.plan, form=payload.format)
    provider = image_provider("image.generate", ctx.settings)
    account = account_for("image.generate", ctx.settings)
    source = await stored(_source, ctx.storage, payload.source, recipe.max_pixels) if payload.source else None
    size = size_of(payload, account.settings.sizes if account is not None else ())

    async def keep(picture: bytes | Image, notes: Notes) -> dict[str, Any]:
        made = await kept(ctx, picture, recipe)
        return {**made, "seed": payload.seed, "index": payload.index, "provider": provider.name, **notes}

    return await provider.make(ImageRequest(payload.prompt, payload.seed, *size, source), ctx, keep)


async def kept(ctx: Context, picture: bytes | Image, recipe: Recipe) -> dict[str, Any]:
    """Encode and store a picture and its variants, named by their content. Raises UnreadableImage."""
    from .pictures.keeping import finished
    from .pictures.recipe import THUMBNAIL

    whole, *variants = await finished(ctx.storage, picture, recipe)
    keys = {file.name: file.key for file in variants}
    return {
        "key": whole.key,
        "thumbnail": keys.pop(THUMBNAIL),
        "variants": keys,
        "width": whole.width,
        "height": whole.height,
        "format": recipe.format,
        "bytes": len(whole.content),
    }


async def _raise_if_used_up(ctx: Context) -> None:
    """Raise Fail where each picture would be refused for a budget."""
    from .providers.account import account_for
    from .providers.prices import Used
    from .providers.quota import refusal
    from .threads import stored

    account = account_for("image.generate", ctx.settings)
    if account is not None and (words := await stored(refusal, ctx, account, Used(images=1))):
        raise Fail(words)


def _count(asked: int | None, plan: str | None) -> int:
    if asked is not None:
        return asked
    if plan is not None and plan not in PLAN_COUNTS:
        plans = ", ".join(PLAN_COUNTS)
        raise Fail(f"plan {plan!r} says no number of images ({plans} do); give `count`")
    return PLAN_COUNTS[plan or "free"]


def _source(storage: Storage, key: str, max_pixels: int) -> Image:
    from .pictures.opening import SOURCE_LIMIT_BYTES, UnreadableImage, decode

    try:
        return decode(storage.get(key, limit_bytes=SOURCE_LIMIT_BYTES), max_pixels)
    except (ObjectMissing, ObjectTooLarge, InvalidKey) as error:
        raise Fail(f"source: {error}") from None
    except UnreadableImage as error:
        raise Fail(f"source {key!r}: {error}") from None
