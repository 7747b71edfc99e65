"""`video.generate`: a video by a provider's queue, streamed into storage with a picture of its beginning."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from .. import Context, WrongField, job

if TYPE_CHECKING:
    from ..settings import Settings
    from .providers.account import Account
    from .providers.calls import Call, Result

VIDEO_LIMIT_BYTES = 2 * 1024 * 1024 * 1024
FOLDER = "videos"
PURPOSE = "video"
OPTIONS = 20


class VideoGenerate(msgspec.Struct, frozen=True, kw_only=True):
    """A video; `options` are those of the provider's model, such as {"duration": "5"}, passed on as they are."""

    prompt: Annotated[str, Meta(min_length=1, max_length=2500, pattern=r"\S")]
    options: dict[Annotated[str, Meta(pattern=r"^[a-z]\w{0,50}$")], str | int | float | bool] = {}


def check_video(payload: VideoGenerate, _settings: Settings) -> None:
    """Raises WrongField."""
    if len(payload.options) > OPTIONS or "prompt" in payload.options:
        raise WrongField("options", f"at most {OPTIONS}, and none of them named prompt")


@job("video.generate", queue="video", timeout_seconds=1800, check=check_video)
async def generate(payload: VideoGenerate, ctx: Context) -> dict[str, Any]:
    """Submit, wait, fetch and store. An attempt that follows another goes on with the request that one submitted."""
    from .providers.account import account_that
    from .providers.calls import paid
    from .providers.prices import Used

    account = account_that("video.generate", ctx.settings, "fal")
    estimate = Used(videos=1)

    async def work(call: Call) -> Result:
        return await _work(payload, ctx, account, call, estimate)

    return await paid(ctx, account, PURPOSE, estimate, work)


async def _work(payload: VideoGenerate, ctx: Context, account: Account, call: Call, estimate: Any) -> Result:
    from .providers.answers import Useless
    from .providers.calls import Result, unusable
    from .providers.fal_queue import FalCall
    from .providers.wire import Unusable, downloaded

    fal = FalCall(ctx, account, call, PURPOSE, estimate)
    answer = await fal.result({"prompt": payload.prompt, **payload.options})
    with tempfile.TemporaryDirectory(prefix="workerctl-video-") as folder:
        path = Path(folder) / PURPOSE
        try:
            await downloaded(ctx, account, _address(answer), path, VIDEO_LIMIT_BYTES, "video/")
            kept = await _kept(ctx, path)
        except Unusable as error:
            failure = await unusable(ctx, call, str(error))
            if isinstance(failure, Useless):
                await fal.forget()
            raise failure from None
    return Result({**kept, "provider": account.name, "model": account.model}, estimate)


async def _kept(ctx: Context, path: Path) -> dict[str, Any]:
    """Store a video by its content, and pictures of its first frame where they can be made. Raises Unusable."""
    from .threads import computed, stored

    ending, content_type = _format(path)
    sha256 = await computed(_sha256, path)
    key = f"{FOLDER}/{sha256[:2]}/{sha256}.{ending}"
    await stored(ctx.storage.put, key, path, content_type=content_type)
    return {"key": key, "bytes": path.stat().st_size, "format": ending, **await _pictured(ctx, path)}


async def _pictured(ctx: Context, path: Path) -> dict[str, Any]:
    """The first frame and its thumbnail; both None, with a line in the job's log, where they cannot be made."""
    from .pictures.keeping import finished
    from .pictures.recipe import THUMBNAIL, recipe_for
    from .providers.first_frame import NoFrame, first_frame
    from .threads import computed

    recipe = recipe_for(ctx.settings.images, plan=ctx.job.plan)
    try:
        files = await finished(ctx.storage, await computed(first_frame, path, recipe.max_pixels), recipe)
    except NoFrame as error:
        ctx.log(f"no thumbnail: {error}", level="warning")
        return {"poster": None, "thumbnail": None}
    keys = {file.name: file.key for file in files}
    return {
        "width": files[0].width, "height": files[0].height, "poster": files[0].key, "thumbnail": keys[THUMBNAIL],
    }  # fmt: skip


def _address(answer: dict[str, Any]) -> Any:
    from .providers.wire import Unusable

    match answer:
        case {"video": {"url": url}}:
            return url
    raise Unusable(f"its output has no video but {', '.join(sorted(answer)) or 'nothing'}")


def _format(path: Path) -> tuple[str, str]:
    """Ending and content type by the file's first bytes, nobody's word. Raises Unusable."""
    from .providers.wire import Unusable

    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp":
        return "mp4", "video/mp4"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "webm", "video/webm"
    raise Unusable(f"the file of {path.stat().st_size:,} bytes is neither MP4 nor WebM")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
