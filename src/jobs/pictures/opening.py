"""Opens and decodes pictures that may be hostile: what they are is read from their bytes, nobody's word counts."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from PIL import (
    AvifImagePlugin,
    GifImagePlugin,
    Image,
    ImageCms,
    JpegImagePlugin,
    PngImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

SOURCE_LIMIT_BYTES = 32 * 1024 * 1024
PIXEL_LIMIT = 40_000_000  # 160 MB decoded: Pillow keeps four bytes a pixel
PLUGINS = (PngImagePlugin, JpegImagePlugin, WebPImagePlugin, AvifImagePlugin, GifImagePlugin)  # or Pillow loads all
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF")

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PROFILE_LIMIT_BYTES = 4 * 1024 * 1024
_MARKUP = (b"<!doctype html", b"<html", b"<head", b"<?xml", b"<svg")
_OTHERS = ((b"%PDF", "a PDF"), (b"PK\x03\x04", "a ZIP archive"), (b"\x1f\x8b", "gzip"), (b"BM", "a BMP"))


class UnreadableImage(ValueError):
    """The bytes are no picture that we take; the message says in one line why."""


def open_picture(content: bytes, max_pixels: int = PIXEL_LIMIT) -> Image.Image:
    """The picture with its header read and nothing decoded yet; the caller closes it.

    Raises UnreadableImage where it is no picture, in another format, or has more than `max_pixels`.
    """
    with _readable(content, max_pixels):
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    if image.width * image.height > max_pixels:
        image.close()
        size = f"{image.width}x{image.height}"
        raise UnreadableImage(f"the picture has {size} pixels; at most {max_pixels:,} are allowed")
    return image


def needs_change(image: Image.Image) -> bool:
    """Whether what a viewer shows of the file depends on more than plain pixels in sRGB."""
    return (
        image.mode not in ("RGB", "L", "P", "1")
        or image.has_transparency_data
        or getattr(image, "n_frames", 1) > 1
        or _turn(image) is not None
        or _foreign_profile(image) is not None
    )


def decode(content: bytes, max_pixels: int = PIXEL_LIMIT) -> Image.Image:
    """A picture as RGB in sRGB, turned as its EXIF says, transparency over white; of an animated one the first frame.

    Raises UnreadableImage for what `open_picture` refuses, and for what is damaged or cut.
    """
    with open_picture(content, max_pixels) as image:
        return decoded(image, content)


def decoded(image: Image.Image, content: bytes) -> Image.Image:
    """`decode` of a picture that is open already. Raises UnreadableImage."""
    with _readable(content, image.width * image.height):
        image.load()
        profile = _foreign_profile(image)
        turn = _turn(image)
        turned = image if turn is None else image.transpose(turn)
        flat = _flat(turned)
        if profile is not None:
            source = turned if turned.mode == "CMYK" else flat
            with suppress(ImageCms.PyCMSError):  # a profile for other pixels than these: it says nothing
                flat = _in_srgb(source, profile)
        if flat is image and image.format in ("WEBP", "AVIF"):
            flat = image.copy()  # without the decoder, which holds twice as much again and more
        flat.info = {}
        return flat


@contextmanager
def _readable(content: bytes, max_pixels: int) -> Iterator[None]:
    """Say in one line what Pillow raises for bytes that it cannot read."""
    try:
        yield
    except MemoryError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage(f"the picture has more than {max_pixels:,} pixels") from None
    except UnidentifiedImageError:
        raise UnreadableImage(f"{_likeness(content)}, no picture in one of {', '.join(FORMATS)}") from None
    except Exception as error:  # its plug-ins raise anything for hostile bytes: RuntimeError and struct.error too
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UnreadableImage(f"the {_name(content)} picture of {len(content):,} bytes is damaged: {reason}") from None


def _turn(image: Image.Image) -> Image.Transpose | None:
    """How the picture is to be turned; broken EXIF says nothing, for the pixels are there all the same."""
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # as in `_readable`
        return None


def _flat(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGB", layer.size, "white")
        ground.paste(layer, mask=layer.getchannel("A"))
        return ground
    if image.mode.startswith("I"):  # 16 bits: Pillow would cut off what is over 255
        return image.convert("I").point(lambda value: value / 257).convert("L").convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _foreign_profile(image: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """The colour profile where it says something else than sRGB and can be read."""
    content = image.info.get("icc_profile")
    if not isinstance(content, bytes) or not 128 < len(content) <= _PROFILE_LIMIT_BYTES:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        name = ImageCms.getProfileDescription(profile)
    except (OSError, ImageCms.PyCMSError):
        return None
    return None if "srgb" in name.lower() else profile


def _in_srgb(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None  # None is for conversions in place
    return converted


def _likeness(content: bytes) -> str:
    """What bytes that are no picture look like: `the file is HTML`, as the page of a proxy that failed."""
    head = content[:512].lstrip().lower()
    if not content:
        return "the file is empty"
    if head.startswith(_MARKUP):
        return "the file is HTML or XML"
    if head.startswith((b"{", b"[")):
        return "the file is JSON"
    for magic, name in _OTHERS:
        if content.startswith(magic):
            return f"the file is {name}"
    return (
        "the file is text" if head.isascii() and b"\0" not in head else f"the file begins with {content[:8].hex(' ')}"
    )


def _name(content: bytes) -> str:
    """Of a picture that began well: how its format calls itself."""
    for name, magic in (("PNG", b"\x89PNG"), ("JPEG", b"\xff\xd8"), ("GIF", b"GIF8"), ("WEBP", b"RIFF")):
        if content.startswith(magic):
            return name
    return "AVIF"
