"""Draws the simulator's pictures: quick, of exactly the size asked for, the same for the same prompt and seed."""

from __future__ import annotations

import colorsys
import io
import math
import random
from functools import lru_cache
from typing import Literal

from PIL import Image, ImageDraw, ImageOps

Format = Literal["png", "jpeg", "webp"]
CONTENT_TYPES: dict[str, str] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


def picture(prompt: str, seed: int, width: int, height: int) -> Image.Image:
    """A sky of two colours and some discs; no understanding of the prompt."""
    chance = random.Random(f"{seed}\0{prompt}")
    sky = _gradient().resize((width, height))
    image = ImageOps.colorize(sky, _color(chance, 0.9), _color(chance, 0.35))
    draw = ImageDraw.Draw(image)
    for _ in range(8):
        x, y, radius = chance.random() * width, chance.random() * height, chance.uniform(0.03, 0.2) * min(width, height)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_color(chance, 0.8))
    return image


def encoded(image: Image.Image, form: Format) -> bytes:
    output = io.BytesIO()
    if form == "png":
        image.save(output, "PNG", compress_level=1)
    elif form == "jpeg":
        image.save(output, "JPEG", quality=85)
    else:
        image.save(output, "WEBP", quality=80, method=0)
    return output.getvalue()


def ten_times(width: int, height: int) -> tuple[int, int]:
    """The sides of a picture with ten times as many pixels."""
    factor = math.sqrt(10)
    return math.ceil(width * factor), math.ceil(height * factor)


@lru_cache(maxsize=1)
def _gradient() -> Image.Image:
    return Image.linear_gradient("L")


def _color(chance: random.Random, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(chance.random(), chance.uniform(0.3, 0.8), value)
    return int(red * 255), int(green * 255), int(blue * 255)
