"""`POST /v1/chat/completions` as documented, as far as text goes: messages, streaming, usage, JSON schemas."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from .ledger import Entry
from .openai_errors import error
from .schema_sample import sample
from .strict import body_as

WORDS = ("the", "river", "carried", "their", "small", "boat", "past", "burning", "ships", "while", "drums", "sounded")
COST_USD_PER_TOKEN = 0.000_002
CONTEXT_TOKENS = 128_000


class TextPart(msgspec.Struct, forbid_unknown_fields=True):
    """One text of a message of several parts."""

    text: str
    type: Literal["text"] = "text"


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class JsonSchema(msgspec.Struct, forbid_unknown_fields=True):
    """The answer's schema."""

    name: str
    schema: dict[str, Any] = {}
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct, forbid_unknown_fields=True):
    """How the answer must look."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    """What a stream tells beside its text."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatBody(msgspec.Struct, forbid_unknown_fields=True):
    """The documented fields of text conversations; tools, audio and pictures are not simulated and so unknown."""

    model: str
    messages: list[Message]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, int] | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority"] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    @property
    def prompt(self) -> str:
        """The last message of the user."""
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")

    @property
    def prompt_tokens(self) -> int:
        return sum(3 + tokens(message.text) for message in self.messages) + 3


class Answer(msgspec.Struct):
    """What the model says."""

    text: str
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int

    @property
    def cost_usd(self) -> float:
        return (self.prompt_tokens + self.completion_tokens) * COST_USD_PER_TOKEN

    @property
    def usage(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        }


def tokens(text: str) -> int:
    """Roughly as a tokenizer counts: four Latin letters or one Chinese character."""
    wide = sum(ord(character) > 0x2E7F for character in text)
    return wide + -(-(len(text) - wide) // 4)


def parsed(body: bytes) -> ChatBody:
    """The checked body. Raises strict.Wrong, or Refusal with the provider's words."""
    asked = body_as(body, ChatBody)
    if not asked.model.strip() or asked.model.startswith("no-such"):
        raise error(404, f"The model `{asked.model}` does not exist.", "model_not_found", "model")
    if not asked.messages:
        raise error(400, "Invalid 'messages': empty array.", "empty_array", "messages")
    for name, low, high in (("temperature", 0, 2), ("top_p", 0, 1), ("n", 1, 1), ("max_tokens", 1, CONTEXT_TOKENS),
                            ("max_completion_tokens", 1, CONTEXT_TOKENS)):  # fmt: skip
        value = getattr(asked, name)
        if value is not None and not low <= value <= high:
            raise error(400, f"Invalid '{name}': expected a value between {low} and {high}.", "invalid_value", name)
    if asked.stream_options is not None and not asked.stream:
        raise error(400, "The 'stream_options' parameter is only allowed when 'stream' is enabled.", None,
                    "stream_options")  # fmt: skip
    wanted = asked.response_format
    if wanted is not None and (wanted.type == "json_schema") != (wanted.json_schema is not None):
        raise error(400, "Missing required parameter: 'response_format.json_schema'.", "missing_required_parameter",
                    "response_format.json_schema")  # fmt: skip
    if asked.prompt_tokens > CONTEXT_TOKENS:
        raise error(400, f"This model's maximum context length is {CONTEXT_TOKENS} tokens. However, your messages"
                    f" resulted in {asked.prompt_tokens} tokens.", "context_length_exceeded", "messages")  # fmt: skip
    return asked


def answer(asked: ChatBody, said: str | None, *, broken: bool) -> Answer:
    """`said` is what a test wants to hear; without it the text is made up, or a sample of the asked schema."""
    wanted = asked.response_format
    if said is None:
        if wanted is not None and wanted.json_schema is not None:
            said = json.dumps(sample(wanted.json_schema.schema), ensure_ascii=False)
        elif wanted is not None and wanted.type == "json_object":
            said = '{"answer": "yes"}'
        else:
            start = tokens(asked.prompt) % len(WORDS)
            said = " ".join((WORDS[start:] + WORDS[:start]) * 2) + "."
    if broken:
        said = '{"broken": ' + said[:10]
    limit = asked.max_completion_tokens or asked.max_tokens
    cut = limit is not None and tokens(said) > limit
    text = said[: (limit or 0) * 4] if cut else said
    return Answer(text, "length" if cut else "stop", asked.prompt_tokens, tokens(text))


def whole(entry: Entry, asked: ChatBody, answered: Answer) -> dict[str, Any]:
    """The answer to a call without streaming."""
    message = {"role": "assistant", "content": answered.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answered.finish_reason}
    return {**_head(entry, asked, "chat.completion"), "choices": [choice], "usage": answered.usage}


def streamed(entry: Entry, asked: ChatBody, answered: Answer, pause: float) -> Iterator[bytes]:
    """Server-sent events: the role, the words, the reason of the end, the usage where asked for, [DONE]."""
    head = _head(entry, asked, "chat.completion.chunk")
    usage = asked.stream_options is not None and bool(asked.stream_options.include_usage)

    def event(delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return _event({**head, "choices": [choice]} | ({"usage": None} if usage else {}))

    yield event({"role": "assistant", "content": "", "refusal": None})
    for begin in range(0, len(answered.text), 8):
        time.sleep(pause)
        yield event({"content": answered.text[begin : begin + 8]})
    yield event({}, answered.finish_reason)
    if usage:
        yield _event({**head, "choices": [], "usage": answered.usage})
    yield b"data: [DONE]\n\n"


def _head(entry: Entry, asked: ChatBody, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{entry.request_id}", "object": kind, "created": entry.created, "model": asked.model,
            "service_tier": "default", "system_fingerprint": "fp_simulator"}  # fmt: skip


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"
