"""Pictures by OpenAI's API, and by everybody who speaks it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from ..threads import computed
from .account import Account
from .answers import Rejected
from .calls import Call, Result, paid, unusable
from .image import ImageRequest, Keep, Notes
from .prices import Used
from .wire import Unusable, asked, check_type, fetched, whole

if TYPE_CHECKING:
    from ... import Context

PICTURE_LIMIT_BYTES = 64 * 1024 * 1024
ANSWER_LIMIT_BYTES = PICTURE_LIMIT_BYTES // 3 * 4 + 1024 * 1024  # in base64


class _Picture(msgspec.Struct):
    b64_json: bytes | None = None
    url: str | None = None
    revised_prompt: str | None = None


class _Usage(msgspec.Struct):
    input_tokens: int = 0
    output_tokens: int = 0


class _Answer(msgspec.Struct):
    data: list[_Picture]
    usage: _Usage | None = None


@dataclass(frozen=True, slots=True)
class OpenAIImages:
    """`POST /images/generations`, one picture a call, under one idempotency key for every try."""

    account: Account

    @property
    def name(self) -> str:
        return self.account.name

    async def make(self, request: ImageRequest, ctx: Context, keep: Keep) -> dict[str, Any]:
        async def work(call: Call) -> Result:
            try:
                answer = await self._ask(request, ctx, call)
                content, notes = await self._taken(ctx, answer)
                made = await keep(content, notes)
            except (Unusable, ValueError) as error:  # UnreadableImage is a ValueError
                raise await unusable(ctx, call, str(error)) from None
            usage = answer.usage or _Usage()
            return Result(made, Used(1, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens))

        return await paid(ctx, self.account, "image", Used(images=1), work)

    async def _ask(self, request: ImageRequest, ctx: Context, call: Call) -> _Answer:
        settings = self.account.settings
        body: dict[str, Any] = {
            "model": self.account.model,
            "prompt": request.prompt,
            "n": 1,
            "size": f"{request.width}x{request.height}",
        }
        if settings.answer is not None:
            body["response_format"] = settings.answer
        if ctx.job.user_id is not None:
            body["user"] = hashlib.sha256(ctx.job.user_id.encode()).hexdigest()[:32]  # nobody's address leaves us
        headers = {"Authorization": f"Bearer {self.account.key}", "Idempotency-Key": call.key}
        url = f"{self.account.base_url}/images/generations"
        async with asked(ctx, self.account, "POST", url, body=msgspec.json.encode(body), headers=headers) as response:
            check_type(response, "application/json")
            content = await whole(response, ANSWER_LIMIT_BYTES)
        try:
            answer = await computed(msgspec.json.decode, content, type=_Answer)  # megabytes of base64
        except msgspec.MsgspecError as error:
            raise Unusable(f"its answer is not the one that was asked for: {error}") from None
        if not answer.data:
            raise Rejected("it gave no picture and no reason")
        return answer

    async def _taken(self, ctx: Context, answer: _Answer) -> tuple[bytes, Notes]:
        picture = answer.data[0]
        notes: Notes = {"model": self.account.model}
        if picture.revised_prompt:
            notes["revised_prompt"] = picture.revised_prompt[:4000]
        if picture.b64_json is not None:
            return picture.b64_json, notes
        if picture.url is None:
            raise Unusable("its answer has neither b64_json nor url")
        return await fetched(ctx, self.account, picture.url, PICTURE_LIMIT_BYTES, "image/"), notes
