"""Pictures by fal.ai's queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .account import Account
from .answers import Useless
from .calls import Call, Result, paid, unusable
from .fal_queue import FalCall
from .image import ImageRequest, Keep, Notes
from .prices import Used
from .wire import Unusable, fetched

if TYPE_CHECKING:
    from ... import Context

PICTURE_LIMIT_BYTES = 64 * 1024 * 1024
PURPOSE = "image"


@dataclass(frozen=True, slots=True)
class FalImages:
    """A text-to-image model that takes `prompt`, `image_size`, `num_images` and `seed`, as those of fal-ai do."""

    account: Account

    @property
    def name(self) -> str:
        return self.account.name

    async def make(self, request: ImageRequest, ctx: Context, keep: Keep) -> dict[str, Any]:
        estimate = Used(images=1)
        body = {
            "prompt": request.prompt,
            "image_size": {"width": request.width, "height": request.height},
            "num_images": 1,
            "seed": request.seed % 2**31,
        }

        async def work(call: Call) -> Result:
            fal = FalCall(ctx, self.account, call, PURPOSE, estimate)
            answer = await fal.result(body)
            notes: Notes = {"model": self.account.model}
            try:
                content = await fetched(ctx, self.account, _address(answer), PICTURE_LIMIT_BYTES, "image/")
                return Result(await keep(content, notes), estimate)
            except (Unusable, ValueError) as error:  # UnreadableImage is a ValueError
                failure = await unusable(ctx, call, str(error))
                if isinstance(failure, Useless):
                    await fal.forget()
                raise failure from None

        return await paid(ctx, self.account, PURPOSE, estimate, work)


def _address(answer: dict[str, Any]) -> Any:
    """Of the first picture. Raises Unusable where there is none."""
    match answer:
        case {"images": [{"url": url}, *_]}:
            return url
    raise Unusable(f"its output has no images but {', '.join(sorted(answer)) or 'nothing'}")
