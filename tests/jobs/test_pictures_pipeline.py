"""The picture pipeline: untrusted bytes and a recipe in, files to store out; each refusal is one line."""

from __future__ import annotations

import hashlib
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from PIL import Image, ImageChops, ImageCms, ImageOps, PngImagePlugin

from workerctl.jobs.pictures import turns as turns_of_process
from workerctl.jobs.pictures.coding import encode
from workerctl.jobs.pictures.opening import UnreadableImage, decode
from workerctl.jobs.pictures.pipeline import PictureFile, finish
from workerctl.jobs.pictures.recipe import Recipe, recipe_for
from workerctl.jobs.pictures.stripping import stripped
from workerctl.jobs.pictures.turns import Turns, turns
from workerctl.jobs.pictures.watermark import NoFont
from workerctl.settings import ImagesSettings

PNG = Recipe(format="png", quality=90, variants={"thumbnail": 64}, watermark=None, max_pixels=1_000_000)
SECRET = b"48.8584 N 2.2945 E"
RED, GREEN = (200, 30, 30), (30, 160, 60)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    output = io.BytesIO()
    image.save(output, form, **options)
    return output.getvalue()


def noise(width: int = 300, height: int = 200) -> Image.Image:
    return Image.merge("RGB", [Image.effect_noise((width, height), 60) for _ in range(3)])


def read(file: PictureFile) -> Image.Image:
    with Image.open(io.BytesIO(file.content)) as image:
        image.load()
        return image


def exif(orientation: int = 1) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    found[0x010E] = SECRET.decode()
    return found


def is_like(one: Image.Image, other: Image.Image, within: int) -> bool:
    difference = ImageChops.difference(one.convert("RGB"), other.convert("RGB"))
    return max(high for _, high in difference.getextrema()) <= within


@pytest.mark.parametrize("form", ["png", "webp", "jpeg", "avif"])
@pytest.mark.parametrize("given", ["PNG", "WEBP", "JPEG", "AVIF", "GIF"])
def test_every_format_becomes_every_other_without_metadata(given: str, form: str):
    options = {} if given == "GIF" else {"exif": exif()}
    files = finish(saved(noise(), given, **options), replace(PNG, format=form))
    assert [(file.name, file.width, file.height) for file in files] == [("image", 300, 200), ("thumbnail", 64, 43)]
    for file in files:
        assert file.content_type == f"image/{form}"
        image = read(file)
        assert (image.format, image.size) == (form.upper(), (file.width, file.height))
        assert not image.getexif() and SECRET not in file.content


def test_names_are_made_of_the_content_and_the_same_again():
    one, other = finish(saved(noise(), "JPEG"), PNG), finish(noise(), PNG)
    sha256 = hashlib.sha256(one[0].content).hexdigest()
    assert one[0].key == f"images/{sha256[:2]}/{sha256}.png"
    assert one[0].key != other[0].key
    picture = noise()
    assert finish(picture.copy(), PNG) == finish(picture.copy(), PNG)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_file_of_the_wanted_format_keeps_its_pixels_and_loses_the_rest(form: str):
    options: dict = {"exif": exif(), "quality": 71} | ({"progressive": True} if form == "JPEG" else {})
    content = saved(noise(), form, **options) + b"<script>" + SECRET
    (whole, _) = finish(content, replace(PNG, format=form.lower()))
    assert len(whole.content) < len(content)
    assert SECRET not in whole.content and b"<script>" not in whole.content
    assert is_like(read(whole), Image.open(io.BytesIO(content)), 0)


def test_text_and_profiles_of_a_png_go():
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", SECRET.decode())
    content = saved(
        noise(), "PNG", pnginfo=notes, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    )
    (whole, _) = finish(content, PNG)
    assert SECRET not in whole.content and b"iCCP" not in whole.content
    assert not read(whole).info


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_a_file_that_is_not_as_its_format_says_is_not_stripped_but_encoded(form: str):
    content = saved(noise(), form.upper())
    assert stripped(content, form) is not None
    assert stripped(content[:40], form) is None
    assert stripped(b"", form) is None
    assert stripped(content, "avif") is None


def test_a_photograph_is_turned_as_its_camera_says():
    image = Image.new("RGB", (40, 20), RED)
    image.paste(GREEN, (0, 0, 20, 20))
    for form in ("JPEG", "PNG", "WEBP"):
        (whole, _) = finish(saved(image, form, exif=exif(6)), replace(PNG, format=form.lower()))
        turned = read(whole).convert("RGB")
        assert turned.size == (20, 40)
        assert is_like(turned.crop((4, 4, 16, 12)), Image.new("RGB", (12, 8), GREEN), 12)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_what_pillow_makes_of_it(orientation: int):
    content = saved(noise(30, 20), "PNG", exif=exif(orientation))
    with Image.open(io.BytesIO(content)) as image:
        assert is_like(decode(content), ImageOps.exif_transpose(image), 0)


@pytest.mark.parametrize(
    ("form", "broken"),
    [
        (form, broken)
        for form in ("PNG", "JPEG", "WEBP")
        for broken in (b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\x7f")
        if (form, broken[6:8]) != ("JPEG", b"II")  # Pillow itself opens no JPEG whose EXIF is cut
    ],
)
def test_broken_exif_costs_no_picture(form: str, broken: bytes):
    (whole, _) = finish(saved(noise(30, 20), form, exif=broken), replace(PNG, format=form.lower()))
    assert (whole.width, whole.height) == (30, 20)
    assert b"Exif" not in whole.content and b"eXIf" not in whole.content


def test_colours_of_cmyk_palettes_greys_and_16_bits_stay():
    red = Image.new("RGB", (16, 16), RED)
    for image, form in ((red.convert("CMYK"), "JPEG"), (red.quantize(4), "PNG"), (red.quantize(4), "GIF")):
        assert is_like(decode(saved(image, form)), red, 14), (image.mode, form)
    assert decode(saved(Image.new("I;16", (8, 8), 40_000), "PNG")).getpixel((0, 0)) == (155, 155, 155)
    assert decode(saved(Image.new("LA", (8, 8), (90, 0)), "PNG")).getpixel((0, 0)) == (255, 255, 255)


def swapped_profile() -> bytes:
    """sRGB under another name, with red and green swapped."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    renamed = srgb.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
    return renamed.replace(b"rXYZ", b"qXYZ").replace(b"gXYZ", b"rXYZ").replace(b"qXYZ", b"gXYZ")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_foreign_colour_profile_is_turned_into_srgb(form: str):
    options: dict = {"lossless": True} if form == "WEBP" else {"quality": 100}
    content = saved(Image.new("RGB", (16, 16), (200, 40, 40)), form, icc_profile=swapped_profile(), **options)
    (whole, _) = finish(content, replace(PNG, format=form.lower()))
    red, green, _ = read(whole).convert("RGB").getpixel((8, 8))
    assert green > 150 > 100 > red
    assert b"swap" not in whole.content


def test_a_profile_that_is_broken_or_for_other_pixels_says_nothing():
    red = Image.new("RGB", (16, 16), RED)
    assert is_like(decode(saved(red, "PNG", icc_profile=b"\0" * 500)), red, 0)
    assert is_like(decode(saved(red.convert("L"), "PNG", icc_profile=swapped_profile())), red.convert("L"), 0)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_taken(form: str):
    frames = [Image.new("RGB", (32, 32), colour) for colour in (RED, GREEN)]
    options: dict = {"lossless": True} if form == "WEBP" else {}
    content = saved(frames[0], form, save_all=True, append_images=frames[1:], duration=100, **options)
    (whole, _) = finish(content, replace(PNG, format="png" if form == "GIF" else form.lower()))
    assert getattr(read(whole), "n_frames", 1) == 1
    assert is_like(read(whole), frames[0], 8)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty, no picture in one of PNG, JPEG, WEBP, AVIF, GIF"),
        (b"\n<!doctype HTML><h1>Bad gateway", "the file is HTML or XML, no picture"),
        (b'{"error": 5}', "the file is JSON, no picture"),
        (b"%PDF-1.7", "the file is a PDF, no picture"),
        (b"BM" + bytes(60), "the file is a BMP, no picture"),
        (b"sorry", "the file is text, no picture"),
        (bytes(range(200)), "the file begins with 00 01 02"),
        (saved(noise(), "PNG")[:5000], "the PNG picture of 5,000 bytes is damaged"),
        (saved(noise(), "JPEG")[:5000], "the JPEG picture of 5,000 bytes is damaged"),
        (saved(noise(), "WEBP")[:5000], "WEBP picture of 5,000 bytes is damaged|begins with 52 49 46 46"),
        (saved(noise(), "AVIF")[:5000], "AVIF picture of 5,000 bytes is damaged|begins with 00 00 00"),
        (saved(Image.new("1", (1001, 1000)), "PNG"), "1001x1000 pixels; at most 1,000,000 are allowed"),
        (saved(Image.new("L", (1001, 1000)), "WEBP"), "1001x1000 pixels; at most 1,000,000 are allowed"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_said_in_one_line(content: bytes, said: str):
    with pytest.raises(UnreadableImage, match=said) as refused:
        finish(content, PNG)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "AVIF", "GIF"])
def test_a_picture_with_any_bytes_changed_is_a_picture_or_unreadable(form: str):
    content = bytearray(saved(noise(60, 40), form))
    for place in range(0, len(content), max(1, len(content) // 60)):
        damaged = bytes(content[:place]) + bytes([content[place] ^ 0xFF]) + bytes(content[place + 1 :])
        try:
            finish(damaged, replace(PNG, format="jpeg"))
        except UnreadableImage as error:
            assert "\n" not in str(error)


def test_variants_come_in_their_order_and_small_pictures_are_not_blown_up():
    files = finish(noise(), replace(PNG, variants={"tiny": 16, "huge": 4000, "medium": 150}))
    assert [(file.name, file.width) for file in files] == [("image", 300), ("tiny", 16), ("huge", 300), ("medium", 150)]


def test_a_watermark_is_drawn_in_the_corner_of_every_file():
    plain = Image.new("RGB", (400, 300), (90, 90, 90))
    marked = replace(PNG, watermark="made by example", variants={"thumbnail": 256})
    for source in (plain.copy(), saved(plain, "PNG")):
        for file in finish(source, marked):
            image = read(file).convert("L")
            assert max(image.crop((0, 0, image.width, image.height // 2)).getextrema()) == 90
            darkest, lightest = image.crop((image.width // 2, image.height * 3 // 4, *image.size)).getextrema()
            assert darkest < 88 and lightest > 140


@pytest.mark.parametrize("size", [(17, 16), (64, 2048), (2048, 64)])
def test_a_watermark_fits_into_odd_pictures(size: tuple[int, int]):
    (whole, _) = finish(Image.new("RGB", size), replace(PNG, watermark="x" * 60))
    assert (whole.width, whole.height) == size


def test_a_watermark_that_no_font_can_draw_stops_the_picture():
    with pytest.raises(NoFont, match="no font here has the characters of"):
        finish(noise(), replace(PNG, watermark="\U0001f3ef\U00016a70"))


def test_the_recipe_is_the_settings_for_the_plan():
    settings = ImagesSettings(format="webp", quality=70, watermarks={"free": "by example"}, variants={"medium": 512})
    assert recipe_for(settings, plan="free") == Recipe(
        format="webp", quality=70, variants={"thumbnail": 256, "medium": 512}, watermark="by example",
        max_pixels=40_000_000,
    )  # fmt: skip
    assert recipe_for(settings, plan="pro", form="jpeg").watermark is None
    assert recipe_for(settings, form="jpeg").format == "jpeg"


def test_quality_is_heard():
    picture = noise()
    for form in ("webp", "jpeg", "avif"):
        assert len(encode(picture, form, 95)) > len(encode(picture, form, 30)), form  # type: ignore[arg-type]


def test_turns_hold_no_more_pixels_and_places_than_there_are():
    turns = Turns(room=100, places=3)
    lock, held, most = threading.Lock(), [0, 0], [0, 0]

    def hold(pixels: int) -> None:
        with turns.take(pixels):
            with lock:
                held[0] += min(pixels, 100)
                held[1] += 1
                most[:] = max(most[0], held[0]), max(most[1], held[1])
            sum(range(20_000))
            with lock:
                held[0] -= min(pixels, 100)
                held[1] -= 1

    with ThreadPoolExecutor(12) as threads:
        list(threads.map(hold, [10, 60, 500, 30, 45, 100] * 20))
    assert most[0] <= 100 and 1 <= most[1] <= 3 and held == [0, 0]


def test_threads_that_ask_first_at_once_share_the_turns_of_their_process():
    turns_of_process._turns.cache_clear()
    door = threading.Barrier(8)

    def ask(_: int) -> Turns:
        door.wait()
        return turns()

    with ThreadPoolExecutor(8) as threads:
        assert len(set(map(id, threads.map(ask, range(8))))) == 1
