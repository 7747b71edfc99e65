"""`text.generate`: a text, or JSON of a schema, from a prompt or a template, by a chat provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from .. import Context, Fail, WrongField, job
from ..storage import InvalidKey, ObjectMissing, ObjectTooLarge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..settings import Settings
    from ..storage import Storage
    from .providers.account import Account
    from .providers.chat import Conversation, Reply

INPUT_LIMIT_BYTES = 16 * 1024 * 1024
SHOWN_CHARACTERS = 8000  # of the text in the result; the whole lies in storage
SCHEMA_LIMIT_BYTES = 64 * 1024
FOLDER = "texts"


class TextGenerate(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly one of `prompt` and `template`; `input` or `input_key` (in storage) is a text that may be long."""

    prompt: Annotated[str, Meta(min_length=1, max_length=200_000, pattern=r"\S")] | None = None
    template: str | None = None
    variables: dict[Annotated[str, Meta(pattern=r"^[_a-zA-Z]\w{0,50}$")], str | int | float] = {}
    system: Annotated[str, Meta(max_length=50_000)] | None = None
    input: Annotated[str, Meta(max_length=900_000)] | None = None
    input_key: str | None = None
    schema: dict[str, Any] | None = None
    max_output_tokens: Annotated[int, Meta(ge=1, le=128_000)] = 2000
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None


def check_text(payload: TextGenerate, settings: Settings) -> None:
    """Raises WrongField for a template that is not there or lacks something, a schema that is none, a wrong key."""
    from ..storage.interface import checked_key
    from .prompts import NoTemplate
    from .providers.schemas import NoValidator, WrongSchema, check_schema

    if (payload.prompt is None) == (payload.template is None):
        raise WrongField("prompt", "give exactly one of `prompt` and `template`")
    if payload.input is not None and payload.input_key is not None:
        raise WrongField("input_key", "give `input` or `input_key`, not both")
    try:
        if payload.input_key is not None:
            checked_key(payload.input_key)
        _filled(payload, settings, "")
        if payload.schema is not None:
            if len(msgspec.json.encode(payload.schema)) > SCHEMA_LIMIT_BYTES:
                raise WrongField("schema", f"at most {SCHEMA_LIMIT_BYTES} bytes")
            check_schema(payload.schema)
    except InvalidKey as error:
        raise WrongField("input_key", str(error)) from None
    except NoTemplate as error:
        raise WrongField("template", str(error)) from None
    except WrongSchema as error:
        raise WrongField("schema", str(error)) from None
    except NoValidator:
        return  # where the job runs there may be one


@job("text.generate", queue="text", timeout_seconds=600, check=check_text)
async def generate(payload: TextGenerate, ctx: Context) -> dict[str, Any]:
    """Ask, check against the schema where there is one, ask once to put right what does not fit."""
    from .providers.account import account_that
    from .providers.chat import Conversation
    from .threads import stored

    account = account_that("text.generate", ctx.settings, "openai")
    long = await stored(_input, payload, ctx.storage)
    messages, given = _messages(payload, ctx.settings, account, long)
    conversation = Conversation(messages, payload.max_output_tokens, payload.schema, payload.temperature)
    answer = await _asked(ctx, account, "text", conversation)
    if payload.schema is not None and "misfit" in answer:
        answer = await _repaired(ctx, account, conversation, answer)
    cost = sum(each["cost"] for each in answer["calls"])
    tokens = {name: sum(each[name] for each in answer["calls"]) for name in ("input_tokens", "output_tokens")}
    result: dict[str, Any] = {name: answer[name] for name in ("key", "text", "json", "finish_reason") if name in answer}
    return {**result, **tokens, "cost": round(cost, 6), "repaired": len(answer["calls"]) > 1,
            "input_characters": len(long), "input_characters_used": given,
            "provider": account.name, "model": account.model}  # fmt: skip


async def _asked(ctx: Context, account: Account, purpose: str, conversation: Conversation) -> dict[str, Any]:
    from .providers.chat import converse
    from .providers.prices import Used, cost_of
    from .providers.schemas import NoValidator

    most = conversation.max_output_tokens

    def heard(tokens: int) -> None:
        ctx.progress(min(tokens, most), most)

    def kept(reply: Reply) -> dict[str, Any]:
        used = Used(input_tokens=reply.input_tokens or 0, output_tokens=reply.output_tokens or 0)
        call = {"input_tokens": used.input_tokens, "output_tokens": used.output_tokens,
                "cost": cost_of(used, account.settings)}  # fmt: skip
        made = _stored_answer(ctx.storage, reply, conversation.schema)
        return {**made, "finish_reason": reply.finish_reason, "calls": [call]}

    try:
        found: dict[str, Any] = await converse(ctx, account, purpose, conversation, kept, heard)
    except NoValidator as error:
        raise Fail(str(error)) from None
    return found


async def _repaired(
    ctx: Context, account: Account, conversation: Conversation, answer: dict[str, Any]
) -> dict[str, Any]:
    """Once. Raises Fail where the second answer does not fit either."""
    from .providers.chat import Conversation
    from .threads import stored

    said = (await stored(ctx.storage.get, answer["key"])).decode()
    wish = f"Your answer does not fit the schema: {answer['misfit']}. Answer again, with the whole JSON alone."
    messages = [*conversation.messages, {"role": "assistant", "content": said}, {"role": "user", "content": wish}]
    again = Conversation(messages, conversation.max_output_tokens, conversation.schema, conversation.temperature)
    second = await _asked(ctx, account, "repair", again)
    if "misfit" in second:
        raise Fail(f"the answer does not fit the schema, nor does its repair ({second['key']}): {second['misfit']}")
    return second | {"calls": [*answer["calls"], *second["calls"]]}


def _stored_answer(storage: Storage, reply: Reply, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """The answer in storage under its content's name, and as much of it as a result should hold."""
    from .documents import content_key
    from .providers.schemas import Misfit, fitting

    content = reply.text.encode()
    key = content_key(FOLDER, content, "txt" if schema is None else "json")
    storage.put(key, content, content_type="text/plain; charset=utf-8" if schema is None else "application/json")
    if schema is None:
        return {"key": key, "text": reply.text[:SHOWN_CHARACTERS]}
    try:
        value = fitting(reply.text, schema)
    except Misfit as error:
        return {"key": key, "misfit": str(error)[:2000]}
    is_shown = len(content) <= SHOWN_CHARACTERS and "\\u0000" not in reply.text  # which no result can hold
    return {"key": key, "json": value if is_shown else None}


def _messages(
    payload: TextGenerate, settings: Settings, account: Account, long: str
) -> tuple[list[dict[str, str]], int]:
    """What is said, and how many characters of the input: what does not fit into `max_input` tokens is cut off."""
    from .text.cutting import cut, estimate_tokens

    budget = account.settings.max_input - sum(estimate_tokens(part) for part in _filled(payload, settings, ""))
    if budget < 1:
        raise Fail(
            f"the prompt alone is over the {account.settings.max_input} tokens that provider {account.name} takes"
        )
    parts = cut(long, budget)
    head = long[: parts[0][1]] if parts else ""
    system, user = _filled(payload, settings, head)
    messages = [{"role": "system", "content": system}] if system else []
    return [*messages, {"role": "user", "content": user}], len(head)


def _filled(payload: TextGenerate, settings: Settings, long: str) -> tuple[str, str]:
    """(system, user) with the input in its place: $input of a template, else behind the prompt. Raises NoTemplate."""
    from .prompts import template

    if payload.template is not None:
        system, user = template(payload.template, settings.jobs.prompts).filled({**payload.variables, "input": long})
    else:
        system, user = "", f"{payload.prompt}\n\n{long}" if long else payload.prompt or ""
    return payload.system or system, user


def _input(payload: TextGenerate, storage: Storage) -> str:
    """Raises Fail where there is no such text."""
    from .text.decoding import UnreadableText, decode

    if payload.input_key is None:
        return payload.input or ""
    try:
        return decode(storage.get(payload.input_key, limit_bytes=INPUT_LIMIT_BYTES)).text
    except (ObjectMissing, ObjectTooLarge) as error:
        raise Fail(f"input_key: {error}") from None
    except UnreadableText as error:
        raise Fail(f"input_key {payload.input_key!r}: {error}") from None
