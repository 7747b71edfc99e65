"""image.batch and image.generate: pictures, their names, and what bad sources get."""

from __future__ import annotations

import asyncio
import io
import struct
import zlib
from collections.abc import Callable

import pytest
from PIL import Image, PngImagePlugin

from workerctl.handler import Context, Fail, InvalidPayload, handlers, validate
from workerctl.jobs.image import ImageBatch, batch, generate
from workerctl.jobs.pictures import captions, opening
from workerctl.storage import Storage

KEPT_INFO = {"background", "loop", "timestamp", "duration", "jfif", "jfif_version", "jfif_unit", "jfif_density"}
MakeContext = Callable[..., Context]


def make(ctx: Context, **payload: object) -> dict:
    return asyncio.run(generate(validate(handlers()["image.generate"], {"prompt": "a lighthouse", **payload}), ctx))


def shared_out(payload: ImageBatch, ctx: Context) -> dict:
    return asyncio.run(batch(payload, ctx))


def picture(storage: Storage, key: str) -> Image.Image:
    with Image.open(io.BytesIO(storage.get(key))) as image:
        image.load()
        return image


def png(image: Image.Image, **options: object) -> bytes:
    output = io.BytesIO()
    image.save(output, "PNG", **options)
    return output.getvalue()


@pytest.mark.parametrize("form", ["png", "webp", "jpeg", "avif"])
def test_a_picture_and_its_thumbnail_are_stored(context: MakeContext, storage: Storage, form: str):
    result = make(context("image.generate"), width=640, height=320, format=form, seed=3, index=4)
    image, small = picture(storage, result["key"]), picture(storage, result["thumbnail"])
    assert (image.format, image.size, image.mode) == (form.upper(), (640, 320), "RGB")
    assert (small.format, small.size) == (form.upper(), (256, 128))
    assert result == {
        "key": result["key"],
        "thumbnail": result["thumbnail"],
        "variants": {},
        "width": 640,
        "height": 320,
        "format": form,
        "bytes": len(storage.get(result["key"])),
        "seed": 3,
        "index": 4,
        "provider": "local-render",
        "prompt_understood": False,
        "caption": True,
    }
    assert len(image.getcolors(640 * 320) or ()) > 1000


def test_the_same_payload_gives_the_same_object_and_another_seed_another(context: MakeContext, storage: Storage):
    results = [make(context("image.generate", job_id=job), seed=seed) for job, seed in ((1, 5), (2, 5), (3, 6))]
    assert results[0] == results[1]
    assert results[2]["key"] != results[0]["key"]
    assert len(list(storage.list("images/"))) == 4


def test_names_are_made_of_the_content(context: MakeContext, storage: Storage):
    result = make(context("image.generate"))
    sha256 = storage.put("copy", storage.get(result["key"])).sha256
    assert result["key"] == f"images/{sha256[:2]}/{sha256}.png"


@pytest.mark.parametrize("size", [(64, 64), (64, 2048), (2048, 64), (1031, 517)])
def test_odd_sizes_are_rendered_too(context: MakeContext, storage: Storage, size: tuple[int, int]):
    result = make(context("image.generate"), width=size[0], height=size[1], prompt="word " * 700)
    assert picture(storage, result["key"]).size == size


def test_words_that_no_font_has_are_left_out_and_said_so(context: MakeContext):
    assert make(context("image.generate"), prompt="\U0001f3ef\U00016a70")["caption"] is False


def test_chinese_words_are_drawn_where_a_font_has_them(context: MakeContext):
    assert make(context("image.generate"), prompt="桃园三结义")["caption"] is bool(captions._font_paths())


@pytest.mark.parametrize("text", ["one two three four five six seven", "桃园三结义" * 9, "x" * 200, "a"])
def test_caption_lines_fit_the_width_and_are_few(text: str):
    font = captions._font(None, 20)
    assert font is not None
    lines = captions._wrapped(text, font, 200)
    assert 1 <= len(lines) <= captions.LINES
    assert all(line and font.getlength(line) <= 200 + font.getlength("…") for line in lines)


def test_a_source_is_what_the_picture_starts_from(context: MakeContext, storage: Storage):
    storage.put("white.png", png(Image.new("RGB", (300, 200), "white")))
    storage.put("black.png", png(Image.new("RGB", (300, 200), "black")))
    light, dark = (
        picture(storage, make(context("image.generate"), source=key)["key"]).resize((1, 1)).getpixel((0, 0))
        for key in ("white.png", "black.png")
    )
    assert sum(light) > sum(dark)


def test_metadata_of_a_source_does_not_reach_the_picture(context: MakeContext, storage: Storage):
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", "where I live")
    storage.put("source.png", png(Image.new("RGB", (90, 90)), pnginfo=notes, dpi=(72, 72)))
    for form in ("png", "webp", "jpeg", "avif"):
        image = picture(storage, make(context("image.generate"), source="source.png", format=form)["key"])
        assert not set(image.info) - KEPT_INFO
        assert not image.getexif()


def bomb() -> bytes:
    """A small file whose header says that it has 900 million pixels."""
    small = png(Image.new("1", (16, 16)))
    header = b"IHDR" + struct.pack(">II", 30_000, 30_000) + small[24:29]
    return small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty, no picture in one of PNG, JPEG, WEBP"),
        (b"not a picture", "no picture in one of"),
        (b"<!DOCTYPE html>", "the file is HTML or XML, no picture in one of"),
        (png(Image.effect_noise((200, 200), 50))[:9000], "damaged"),
        (png(Image.new("L", (9000, 9000))), "9000x9000 pixels; at most 40,000,000"),
        (bomb(), "more than 40,000,000 pixels"),
    ],
    ids=["empty", "text", "page", "cut", "big", "bomb"],
)
def test_a_bad_source_fails_for_good_with_its_key(context: MakeContext, storage: Storage, content: bytes, said: str):
    storage.put("source", content)
    with pytest.raises(Fail, match=rf"source 'source': .*({said})"):
        make(context("image.generate"), source="source")
    assert [entry.key for entry in storage.list()] == ["source"]


def test_a_source_that_is_missing_or_too_large_fails_for_good(context: MakeContext, storage: Storage):
    with pytest.raises(Fail, match="source: storage has no object 'none'"):
        make(context("image.generate"), source="none")
    storage.put("large", bytes(opening.SOURCE_LIMIT_BYTES + 1))
    with pytest.raises(Fail, match=r"source: .*at most 33,554,432"):
        make(context("image.generate"), source="large")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_every_kind_of_pixel_is_decoded_to_rgb(mode: str):
    assert opening.decode(png(Image.new(mode, (8, 8)))).mode == "RGB"


def test_a_photograph_is_turned_as_its_camera_says():
    exif = Image.Exif()
    exif[0x0112] = 6
    output = io.BytesIO()
    Image.new("CMYK", (40, 20)).save(output, "JPEG", exif=exif)
    image = opening.decode(output.getvalue())
    assert (image.size, image.mode) == ((20, 40), "RGB")


@pytest.mark.parametrize(
    ("asked", "plan", "count"),
    [(None, "free", 2), (None, "start", 20), (None, "pro", 50), (None, None, 2), (7, "pro", 7)],
)
def test_a_batch_has_as_many_children_as_asked_or_as_the_plan_says(
    context: MakeContext, asked: int | None, plan: str | None, count: int
):
    ctx = context("image.batch", plan=plan)
    assert shared_out(ImageBatch(prompt="a cat", count=asked), ctx)["images"] == count
    assert [job["payload"]["index"] for job in ctx.enqueued] == list(range(count))
    assert {job["payload"]["seed"] for job in ctx.enqueued} == set(range(7, 7 + count))
    assert all(job["child"] and job["kind"] == "image.generate" and job.get("plan") == plan for job in ctx.enqueued)


def test_a_plan_without_a_number_of_images_asks_for_one(context: MakeContext):
    with pytest.raises(Fail, match=r"plan 'paid' says no number of images \(free, start, pro do\); give `count`"):
        shared_out(ImageBatch(prompt="a cat"), context("image.batch", plan="paid"))


def test_seeds_of_a_batch_never_leave_their_range(context: MakeContext):
    ctx = context("image.batch")
    shared_out(ImageBatch(prompt="a cat", count=3, seed=2**32 - 2), ctx)
    assert [job["payload"]["seed"] for job in ctx.enqueued] == [2**32 - 2, 2**32 - 1, 0]


@pytest.mark.parametrize(
    ("kind", "payload", "field"),
    [
        ("image.batch", {"prompt": ""}, "prompt"),
        ("image.batch", {"prompt": "  \n"}, "prompt"),
        ("image.batch", {"prompt": "x" * 100_000}, "prompt"),
        ("image.batch", {"prompt": "a", "count": 0}, "count"),
        ("image.batch", {"prompt": "a", "count": 10_000}, "count"),
        ("image.batch", {"prompt": "a", "width": 4096}, "width"),
        ("image.generate", {"prompt": "a", "height": 63}, "height"),
        ("image.generate", {"prompt": "a", "format": "gif"}, "format"),
        ("image.generate", {"prompt": "a", "seed": -1}, "seed"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_with_its_field(kind: str, payload: dict, field: str):
    with pytest.raises(InvalidPayload, match=rf"\$\.{field}"):
        validate(handlers()[kind], payload)


def test_numbers_may_come_as_text_from_the_command_line():
    assert validate(handlers()["image.batch"], {"prompt": "a", "count": "3"}).count == 3
