"""Decodes pictures that may be hostile, and encodes ours without metadata. Pure."""

from __future__ import annotations

import io
from typing import Literal

from PIL import Image, ImageOps, UnidentifiedImageError

SOURCE_LIMIT_BYTES = 32 * 1024 * 1024
PIXEL_LIMIT = 40_000_000  # 120 MB decoded
THUMBNAIL_PIXELS = 256
FORMATS = ("PNG", "JPEG", "WEBP")

Format = Literal["png", "webp"]


class UnreadableImage(ValueError):
    """The bytes are no picture that we take; the message says why."""


def decode(content: bytes) -> Image.Image:
    """A picture as RGB, turned as its EXIF says, without metadata; of an animated one the first frame.

    Raises UnreadableImage for other formats, damaged or cut files, and pictures over PIXEL_LIMIT, whose size
    is read from the header before anything is decoded.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > PIXEL_LIMIT:
                raise UnreadableImage(
                    f"the picture has {image.width}x{image.height} pixels; at most {PIXEL_LIMIT:,} are allowed"
                )
            image.load()
            return _flat(ImageOps.exif_transpose(image))
    except UnreadableImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage(f"the picture has more than {PIXEL_LIMIT:,} pixels") from None
    except UnidentifiedImageError:
        raise UnreadableImage(f"the file is no picture in one of {', '.join(FORMATS)}") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:  # Pillow's plug-ins raise all of these
        raise UnreadableImage(f"the picture is damaged: {error}") from None


def encode(image: Image.Image, form: Format) -> bytes:
    """The same bytes for the same picture; nothing but pixels."""
    bare = image
    if image.info:  # of a provider's answer: colour profile, comments, place
        bare = image.copy()
        bare.info = {}
    output = io.BytesIO()
    if form == "png":
        bare.save(output, "PNG", compress_level=6)
    else:
        bare.save(output, "WEBP", quality=90, method=4)
    return output.getvalue()


def thumbnail(image: Image.Image) -> Image.Image:
    """At most 256 pixels wide and high; a small picture is not blown up."""
    scale = min(1.0, THUMBNAIL_PIXELS / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _flat(image: Image.Image) -> Image.Image:
    """Transparency over white, CMYK and palettes to RGB."""
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGB", layer.size, "white")
        ground.paste(layer, mask=layer.getchannel("A"))
        return ground
    return image.convert("RGB")
