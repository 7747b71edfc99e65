"""From untrusted bytes and a recipe to the files to store: decode, mark, encode, make smaller, name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PIL import Image

from ..documents import content_key
from .coding import encode, smaller
from .opening import UnreadableImage, decoded, needs_change, open_picture
from .recipe import Recipe
from .stripping import stripped
from .turns import give_pages_back, turns
from .watermark import draw_watermark

WHOLE = "image"  # the name of the picture itself among its files
FOLDER = "images"
_HUNGRY = ("WEBP", "AVIF")  # to decode WebP and to encode AVIF takes five to eight times the picture's own memory

__all__ = ["FOLDER", "WHOLE", "PictureFile", "UnreadableImage", "finish"]


@dataclass(frozen=True, slots=True)
class PictureFile:
    """One file to store. The key is made of the content: stored twice it is one object."""

    name: str  # WHOLE, or the variant's
    key: str
    content: bytes
    content_type: str
    width: int
    height: int


def finish(
    source: bytes | Image.Image, recipe: Recipe, take: Callable[[PictureFile], object] | None = None
) -> list[PictureFile]:
    """The files of a picture: itself first, then the variants in the recipe's order; `take` gets each once it is made.

    For `asyncio.to_thread`: it blocks, first for one of the process's few turns, then with work. A file that already
    has the wanted format and needs no change keeps its pixels' bytes and loses its metadata alone. A picture that is
    given decoded is drawn upon. Raises UnreadableImage, in one line, for bytes that are no picture that we take.
    """
    files = {}
    try:
        for file in _of_bytes(source, recipe) if isinstance(source, bytes) else _of_picture(source, recipe):
            files[file.name] = file
            if take is not None:
                take(file)
    finally:
        give_pages_back()
    return [files[name] for name in (WHOLE, *recipe.variants)]


def _of_picture(picture: Image.Image, recipe: Recipe) -> Iterator[PictureFile]:
    with turns().take(_held_pixels(picture, recipe)):
        yield from _made(picture, None, recipe)


def _of_bytes(content: bytes, recipe: Recipe) -> Iterator[PictureFile]:
    with open_picture(content, recipe.max_pixels) as image:
        pixels = _held_pixels(image, recipe)
        del image  # its decoder may hold as much as the picture
    with turns().take(pixels):
        yield from _of_file(content, recipe)


def _held_pixels(image: Image.Image, recipe: Recipe) -> int:
    is_hungry = image.format in _HUNGRY or recipe.format == "avif"
    return image.width * image.height * (2 if is_hungry else 1)


def _of_file(content: bytes, recipe: Recipe) -> Iterator[PictureFile]:
    """A function of its own, so that whatever it holds is free before the turn ends."""
    with open_picture(content, recipe.max_pixels) as image:
        picture = decoded(image, content)
        is_as_wanted = image.format == recipe.format.upper() and not recipe.watermark and not needs_change(image)
    del image
    yield from _made(picture, stripped(content, recipe.format) if is_as_wanted else None, recipe)


def _made(picture: Image.Image, whole: bytes | None, recipe: Recipe) -> Iterator[PictureFile]:
    """The picture itself, then the variants, the largest first."""
    if recipe.watermark:
        draw_watermark(picture, recipe.watermark)
    if whole is None:
        whole = encode(picture, recipe.format, recipe.quality)
    yield _file(WHOLE, whole, picture.size, recipe)
    for name, longest in sorted(recipe.variants.items(), key=lambda each: -each[1]):
        picture = smaller(picture, longest)  # from the next larger one: cheaper, and hardly to be seen
        yield _file(name, encode(picture, recipe.format, recipe.quality), picture.size, recipe)


def _file(name: str, content: bytes, size: tuple[int, int], recipe: Recipe) -> PictureFile:
    key = content_key(FOLDER, content, recipe.format)
    return PictureFile(name, key, content, f"image/{recipe.format}", *size)
