"""`POST /v1/images/generations` as documented: what each model takes, and the answer it gives."""

from __future__ import annotations

import base64
import re
from typing import Any, Literal

import msgspec

from . import render
from .faults import Fault, FaultKind
from .openai_errors import error
from .strict import body_as

OLD_SIZES = {
    "dall-e-2": ("256x256", "512x512", "1024x1024"),
    "dall-e-3": ("1024x1024", "1792x1024", "1024x1792"),
}
GPT_SIZES = ("1024x1024", "1536x1024", "1024x1536", "auto")
FREE_SIZE_MODELS = re.compile(r"gpt-image-2([.-].*)?")  # any multiple of 16, sides 1:3 to 3:1
GPT_MODELS = re.compile(r"gpt-image-\d[\w.-]*|chatgpt-image-latest")
PROMPT_LIMITS = {"dall-e-2": 1000, "dall-e-3": 4000}
PROMPT_LIMIT = 32000
COSTS_USD = {"dall-e-2": 0.02, "dall-e-3": 0.04}
COST_USD = 0.042
LONGEST_SIDE = 3840


class ImagesBody(msgspec.Struct, forbid_unknown_fields=True):
    """Every documented field; which model takes which is checked apart. Streaming is not simulated."""

    prompt: str
    model: str = "dall-e-2"
    n: int | None = None
    size: str | None = None
    quality: Literal["standard", "hd", "low", "medium", "high", "xhigh", "max", "auto"] | None = None
    style: Literal["vivid", "natural"] | None = None
    response_format: Literal["url", "b64_json"] | None = None
    background: Literal["transparent", "opaque", "auto"] | None = None
    moderation: Literal["low", "auto"] | None = None
    output_format: render.Format | None = None
    output_compression: int | None = None
    user: str | None = None
    safety_identifier: str | None = None

    @property
    def by_url(self) -> bool:
        """Whether the answer has addresses instead of bytes; the GPT models always give bytes."""
        return self.model in OLD_SIZES and self.response_format != "b64_json"

    @property
    def form(self) -> render.Format:
        return self.output_format or "png"

    @property
    def sides(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        size = self.size if self.size not in (None, "auto") else "1024x1024"
        width, height = str(size).split("x")
        return int(width), int(height)

    @property
    def count(self) -> int:
        return 1 if self.n is None else self.n

    @property
    def cost_usd(self) -> float:
        """For all pictures of the call."""
        return COSTS_USD.get(self.model, COST_USD) * self.count


def parsed(body: bytes) -> ImagesBody:
    """The checked body. Raises strict.Wrong, or Refusal with the provider's words."""
    asked = body_as(body, ImagesBody)
    old = asked.model in OLD_SIZES
    if not old and not GPT_MODELS.fullmatch(asked.model):
        raise error(404, f"The model '{asked.model}' does not exist.", "model_not_found", "model")
    _check_prompt(asked)
    most = 1 if asked.model == "dall-e-3" else 10
    if not 1 <= asked.count <= most:
        raise error(400, f"Invalid 'n': expected a value between 1 and {most}, got {asked.n}.",
                    "integer_above_max_value" if asked.count > most else "integer_below_min_value", "n")  # fmt: skip
    _check_size(asked)
    for name in _not_taken(asked, old=old):
        if getattr(asked, name) is not None:
            raise error(400, f"Unknown parameter: '{name}'.", "unknown_parameter", name)
    _check_quality(asked)
    if asked.background == "transparent" and asked.form == "jpeg":
        raise error(400, "Transparent background is not supported for jpeg.", "invalid_value", "background")
    if asked.output_compression is not None and (asked.form == "png" or not 0 <= asked.output_compression <= 100):
        raise error(400, "Invalid 'output_compression'.", "invalid_value", "output_compression")
    return asked


def answer(asked: ImagesBody, created: int, seeds: list[int], urls: list[str], fault: Fault | None) -> dict[str, Any]:
    """The answer's body; `urls` address the same pictures where the call wants addresses."""
    if asked.by_url:
        return {"created": created, "data": [{"url": url} for url in urls]}
    data = [{"b64_json": base64.b64encode(content(asked, seed, fault)).decode()} for seed in seeds]
    reply: dict[str, Any] = {"created": created, "data": data}
    if asked.model not in OLD_SIZES:
        text = max(1, len(asked.prompt.encode()) // 4)
        made = 1056 * asked.count
        quality = asked.quality if asked.quality not in (None, "auto") else "medium"
        width, height = asked.sides
        reply |= {
            "background": "opaque", "output_format": asked.form, "quality": quality, "size": f"{width}x{height}",
            "usage": {"input_tokens": text, "output_tokens": made, "total_tokens": text + made,
                      "input_tokens_details": {"text_tokens": text, "image_tokens": 0}},
        }  # fmt: skip
    return reply


def content(asked: ImagesBody, seed: int, fault: Fault | None) -> bytes:
    """One picture's bytes."""
    kind = fault.kind if fault is not None else None
    if kind is FaultKind.NOT_AN_IMAGE:
        return b"this is no picture " * 20
    sides = render.ten_times(*asked.sides) if kind is FaultKind.TEN_TIMES else asked.sides
    return render.encoded(render.picture(asked.prompt, seed, *sides), asked.form)


def _check_prompt(asked: ImagesBody) -> None:
    limit = PROMPT_LIMITS.get(asked.model, PROMPT_LIMIT)
    if not asked.prompt:
        raise error(400, "Invalid 'prompt': empty string.", "empty_string", "prompt")
    if len(asked.prompt) > limit:
        words = f"Invalid 'prompt': string too long. Expected a string with maximum length {limit}, but got a string"
        raise error(400, f"{words} with length {len(asked.prompt)} instead.", "string_above_max_length", "prompt")


def _check_size(asked: ImagesBody) -> None:
    sizes = OLD_SIZES.get(asked.model, GPT_SIZES)
    if asked.size is None or asked.size in sizes:
        return
    free = FREE_SIZE_MODELS.fullmatch(asked.model) and re.fullmatch(r"[1-9]\d{1,3}x[1-9]\d{1,3}", asked.size)
    if free:
        width, height = asked.sides
        if width % 16 == height % 16 == 0 and max(width, height) <= min(3 * min(width, height), LONGEST_SIDE):
            return
    told = ", ".join(f"'{size}'" for size in sizes)
    raise error(400, f"Invalid value: '{asked.size}'. Supported values are: {told}.", "invalid_value", "size")


def _not_taken(asked: ImagesBody, *, old: bool) -> list[str]:
    """Fields that this model does not have."""
    if not old:
        return ["response_format", "style"]
    gone = ["background", "moderation", "output_format", "output_compression"]
    return gone if asked.model == "dall-e-3" else [*gone, "style"]


def _check_quality(asked: ImagesBody) -> None:
    taken = {"dall-e-2": ("standard",), "dall-e-3": ("standard", "hd")}
    known = taken.get(asked.model, ("low", "medium", "high", "xhigh", "max", "auto"))
    if asked.quality is not None and asked.quality not in known:
        told = ", ".join(f"'{name}'" for name in known)
        raise error(400, f"Invalid value: '{asked.quality}'. Supported values are: {told}.", "invalid_value", "quality")
