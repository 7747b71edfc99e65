"""Pure: some of fal.ai's models with their documented inputs, and the answers they give."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .files import Media
from .strict import Wrong, body_as

NAMED_SIZES = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
SizeName = Literal["square_hd", "square", "portrait_4_3", "portrait_16_9", "landscape_4_3", "landscape_16_9"]
Side = Annotated[int, Meta(ge=1, le=14142)]
Prompt = Annotated[str, Meta(min_length=1)]


class ImageSize(msgspec.Struct, forbid_unknown_fields=True):
    """A size that has no name."""

    width: Side = 512
    height: Side = 512


class Flux(msgspec.Struct, forbid_unknown_fields=True):
    """The text-to-image models of the FLUX family."""

    prompt: Prompt
    image_size: SizeName | ImageSize = "landscape_4_3"
    num_inference_steps: Annotated[int, Meta(ge=1, le=50)] = 28
    seed: int | None = None
    guidance_scale: Annotated[float, Meta(ge=1, le=20)] = 3.5
    sync_mode: bool = False
    num_images: Annotated[int, Meta(ge=1, le=4)] = 1
    enable_safety_checker: bool = True
    output_format: Literal["jpeg", "png"] = "jpeg"
    acceleration: Literal["none", "regular", "high"] = "none"


class FastSdxl(msgspec.Struct, forbid_unknown_fields=True):
    """Stable Diffusion XL."""

    prompt: Prompt
    negative_prompt: str = ""
    image_size: SizeName | ImageSize = "square_hd"
    num_inference_steps: Annotated[int, Meta(ge=1, le=50)] = 25
    seed: int | None = None
    guidance_scale: Annotated[float, Meta(ge=0, le=20)] = 7.5
    sync_mode: bool = False
    num_images: Annotated[int, Meta(ge=1, le=8)] = 1
    enable_safety_checker: bool = True
    expand_prompt: bool = False
    format: Literal["jpeg", "png"] = "jpeg"


class LtxVideo(msgspec.Struct, forbid_unknown_fields=True):
    """Text to a video of some seconds."""

    prompt: Prompt
    negative_prompt: str = ""
    seed: int | None = None
    num_inference_steps: Annotated[int, Meta(ge=1, le=50)] = 30
    guidance_scale: Annotated[float, Meta(ge=1, le=10)] = 3.0


class KlingVideo(msgspec.Struct, forbid_unknown_fields=True):
    """Text to a video of 5 or 10 seconds."""

    prompt: Annotated[str, Meta(min_length=1, max_length=2500)]
    duration: Literal["5", "10"] = "5"
    aspect_ratio: Literal["16:9", "9:16", "1:1"] = "16:9"
    negative_prompt: str = ""
    cfg_scale: Annotated[float, Meta(ge=0, le=1)] = 0.5


Input = Flux | FastSdxl | LtxVideo | KlingVideo
MODELS: dict[str, type[Flux] | type[FastSdxl] | type[LtxVideo] | type[KlingVideo]] = {
    "fal-ai/flux/dev": Flux,
    "fal-ai/flux/schnell": Flux,
    "fal-ai/fast-sdxl": FastSdxl,
    "fal-ai/ltx-video": LtxVideo,
    "fal-ai/kling-video/v1.6/standard/text-to-video": KlingVideo,
}
VIDEO_SIDES = {"16:9": (320, 180), "9:16": (180, 320), "1:1": (240, 240)}  # small, so that a test stays quick
COSTS_USD = {Flux: 0.025, FastSdxl: 0.01, LtxVideo: 0.02, KlingVideo: 0.225}


def parsed(model: str, body: bytes) -> Input:
    """The model's input. Raises Wrong."""
    return body_as(body, MODELS[model])


def count(asked: Input) -> int:
    return asked.num_images if isinstance(asked, Flux | FastSdxl) else 0


def cost_usd(asked: Input) -> float:
    return COSTS_USD[type(asked)] * max(1, count(asked))


def media(asked: Input, seed: int) -> list[Media]:
    """What this input makes."""
    if isinstance(asked, KlingVideo):
        return [Media(asked.prompt, seed, *VIDEO_SIDES[asked.aspect_ratio], seconds=float(asked.duration))]
    if isinstance(asked, LtxVideo):
        return [Media(asked.prompt, seed, 320, 180, seconds=2.0)]
    size = asked.image_size
    width, height = NAMED_SIZES[size] if isinstance(size, str) else (size.width, size.height)
    form = asked.output_format if isinstance(asked, Flux) else asked.format
    return [Media(asked.prompt, seed + number, width, height, form) for number in range(asked.num_images)]


def result(asked: Input, seed: int, urls: list[str]) -> dict[str, Any]:
    """The documented output; `urls` address what `media` named."""
    made = media(asked, seed)
    if isinstance(asked, LtxVideo | KlingVideo):
        video = {"url": urls[0], "content_type": "video/mp4", "file_name": "video.mp4", "file_size": None}
        return {"video": video} | ({"seed": seed} if isinstance(asked, LtxVideo) else {})
    images = [{"url": url, "width": one.width, "height": one.height, "content_type": one.content_type}
              for url, one in zip(urls, made, strict=True)]  # fmt: skip
    return {"images": images, "timings": {"inference": 0.5}, "seed": seed,
            "has_nsfw_concepts": [False] * len(images), "prompt": asked.prompt}  # fmt: skip


def input_errors(wrong: Wrong) -> list[dict[str, Any]]:
    """The `detail` of a 422."""
    kind = "missing" if wrong.missing else "extra_forbidden" if wrong.unknown else "value_error"
    loc = ["body", *wrong.path.split(".")] if wrong.path else ["body"]
    return [{"loc": loc, "msg": str(wrong), "type": kind, "input": None}]


def refusal(prompt: str) -> list[dict[str, Any]]:
    return [{"loc": ["body", "prompt"], "msg": "The content could not be processed because it was flagged by a content"
             " checker.", "type": "content_policy_violation", "input": prompt}]  # fmt: skip
