"""Conversations by OpenAI's API, and by everybody who speaks it: streamed, counted, and JSON where it is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from ..text.cutting import estimate_tokens
from .account import Account
from .answers import Broken, Rejected, Unsettled
from .calls import Call, Result, paid
from .prices import Used
from .schemas import is_strict
from .wire import Unusable, asked, blocks, check_type

if TYPE_CHECKING:
    import httpx

    from ... import Context

ANSWER_LIMIT_BYTES = 32 * 1024 * 1024  # of a stream, whose events are longer than their text
MESSAGE_TOKENS = 4  # around each message


@dataclass(frozen=True, slots=True)
class Conversation:
    """What is said, and how long and of what shape the answer may be."""

    messages: list[dict[str, str]]
    max_output_tokens: int
    schema: Mapping[str, Any] | None = None
    temperature: float | None = None

    @property
    def input_tokens(self) -> int:
        """About as many, by our estimate."""
        return sum(estimate_tokens(message["content"]) + MESSAGE_TOKENS for message in self.messages)


@dataclass(slots=True)
class Reply:
    """What the model says, as far as it has said it."""

    text: str = ""
    finish_reason: str | None = None
    input_tokens: int | None = None  # None: the provider does not say
    output_tokens: int | None = None
    deltas: int = 0


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


async def converse(
    ctx: Context,
    account: Account,
    purpose: str,
    conversation: Conversation,
    kept: Callable[[Reply], Any],
    heard: Callable[[int], None] = lambda _tokens: None,
    *,
    is_remembered: bool = True,
) -> Any:
    """What `kept` (run in a thread) made of the answer, in this attempt or an earlier one: at most 64 KiB of JSON.

    Without `is_remembered` a later attempt asks again: `kept` has put it where that one looks first. `heard` is told
    how many tokens have come, about. Raises Fail, Retry and Snooze as `paid` does.
    """
    import asyncio

    estimate = Used(input_tokens=conversation.input_tokens, output_tokens=conversation.max_output_tokens)

    async def work(call: Call) -> Result:
        reply = await _streamed(ctx, account, call, conversation, heard)
        used = Used(input_tokens=_or(reply.input_tokens, conversation.input_tokens),
                    output_tokens=_or(reply.output_tokens, estimate_tokens(reply.text)))  # fmt: skip
        reply.input_tokens, reply.output_tokens = used.input_tokens, used.output_tokens
        return Result(await asyncio.to_thread(kept, reply), used, is_remembered)

    return await paid(ctx, account, purpose, estimate, work)


def _or(said: int | None, estimated: int) -> int:
    return estimated if said is None else said


async def _streamed(
    ctx: Context, account: Account, call: Call, conversation: Conversation, heard: Callable[[int], None]
) -> Reply:
    headers = {"Authorization": f"Bearer {account.key}", "Idempotency-Key": call.key}
    url = f"{account.base_url}/chat/completions"
    body = msgspec.json.encode(_body(ctx, account, conversation))
    reply = Reply()
    try:
        async with asked(ctx, account, "POST", url, body=body, headers=headers) as response:
            check_type(response, "text/event-stream")
            async for event in _events(response):
                if event == b"[DONE]":
                    return _whole(reply)
                _add(reply, event)
                heard(reply.deltas)
    except (Unusable, msgspec.MsgspecError) as error:
        raise Unsettled(f"its answer is no stream of text: {error}") from None
    raise Unsettled("its answer ended in the middle")


def _body(ctx: Context, account: Account, conversation: Conversation) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": account.model,
        "messages": conversation.messages,
        "max_completion_tokens": conversation.max_output_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if conversation.temperature is not None:
        body["temperature"] = conversation.temperature
    if conversation.schema is not None:
        shape = {"name": "answer", "schema": conversation.schema, "strict": is_strict(conversation.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": shape}
    if ctx.job.user_id is not None:
        body["user"] = hashlib.sha256(ctx.job.user_id.encode()).hexdigest()[:32]  # nobody's address leaves us
    return body


def _add(reply: Reply, event: bytes) -> None:
    chunk = msgspec.json.decode(event, type=_Chunk)
    if chunk.error is not None:
        raise Broken(str(chunk.error)[:500])
    if chunk.usage is not None:
        reply.input_tokens, reply.output_tokens = chunk.usage.prompt_tokens, chunk.usage.completion_tokens
    for choice in chunk.choices[:1]:
        if choice.delta.refusal:
            raise Rejected(choice.delta.refusal[:500])
        reply.text += choice.delta.content or ""
        reply.deltas += bool(choice.delta.content)
        reply.finish_reason = choice.finish_reason or reply.finish_reason


def _whole(reply: Reply) -> Reply:
    if reply.finish_reason == "content_filter":
        raise Rejected("its content filter cut the answer off")
    reply.text = reply.text.replace("\0", "")  # which no database holds
    return reply


async def _events(response: httpx.Response) -> AsyncIterator[bytes]:
    """The data of server-sent events, one line each."""
    rest = b""
    async for block in blocks(response, ANSWER_LIMIT_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()
