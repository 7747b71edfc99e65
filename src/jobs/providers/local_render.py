"""Renders a landscape from prompt and seed on this machine. It understands no prompt, and says so by its name."""

from __future__ import annotations

import colorsys
import math
import random
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFilter, ImageOps

from ..pictures.captions import draw_caption
from ..threads import computed
from .image import ImageRequest, Keep

if TYPE_CHECKING:
    from ... import Context

NAME = "local-render"
SMOOTHED_PIXELS = 1024 * 1024  # up to this size drawn twice as large, for smooth edges

Color = tuple[int, int, int]


class LocalRender:
    """Sky, a sun or moon, ranges of hills, stars or birds; the prompt's words below them."""

    name = NAME

    async def make(self, request: ImageRequest, ctx: Context, keep: Keep) -> dict[str, Any]:
        image, has_caption = await computed(_rendered, request)
        ctx.raise_if_cancelled()
        return await keep(image, {"prompt_understood": False, "caption": has_caption})


@lru_cache(maxsize=1)
def local_render() -> LocalRender:
    return LocalRender()


def _rendered(request: ImageRequest) -> tuple[Image.Image, bool]:
    """The picture, and whether the prompt's words are on it."""
    chance = random.Random(f"{request.seed}\0{request.prompt}")
    factor = 2 if request.width * request.height <= SMOOTHED_PIXELS else 1
    size = (request.width * factor, request.height * factor)
    image = _tinted(request.source, size, chance) if request.source else _landscape(size, chance)
    if factor > 1:
        image = image.resize((request.width, request.height), Image.Resampling.LANCZOS)
    return image, draw_caption(image, request.prompt)


def _landscape(size: tuple[int, int], chance: random.Random) -> Image.Image:
    hue = chance.random()
    night = chance.random() < 0.35
    top = _color(hue, 0.65, 0.16 if night else 0.55)
    horizon = _color(hue + chance.uniform(0.06, 0.18), 0.5, 0.5 if night else 0.97)
    image = _gradient(size, top, horizon)
    if night:
        _stars(image, chance)
    _disc(image, chance, _color(hue + 0.12, 0.12 if night else 0.35, 1.0))
    _hills(image, chance, hue, near=_color(hue + 0.55, 0.55, 0.12), far=horizon)
    if not night:
        _birds(image, chance)
    return image


def _tinted(source: Image.Image, size: tuple[int, int], chance: random.Random) -> Image.Image:
    """The source cropped to the size, its lights and shadows in two colours."""
    hue = chance.random()
    fitted = ImageOps.fit(source, size, Image.Resampling.LANCZOS)
    toned = ImageOps.colorize(fitted.convert("L"), _color(hue, 0.7, 0.15), _color(hue + 0.12, 0.15, 1.0))
    return Image.blend(fitted, toned, 0.55)


def _color(hue: float, saturation: float, value: float) -> Color:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _mix(one: Color, other: Color, share: float) -> Color:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _gradient(size: tuple[int, int], top: Color, bottom: Color) -> Image.Image:
    """One column of colours, stretched."""
    column = Image.new("RGB", (1, 256))
    column.putdata([_mix(top, bottom, (row / 255) ** 0.8) for row in range(256)])
    return column.resize(size, Image.Resampling.BICUBIC)


def _stars(image: Image.Image, chance: random.Random) -> None:
    draw = ImageDraw.Draw(image)
    unit = max(1, min(image.size) // 400)
    for _ in range(90):
        x, y = chance.uniform(0, image.width), chance.uniform(0, image.height * 0.6)
        radius = unit * chance.uniform(0.4, 1.3)
        brightness = chance.randint(170, 255)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(brightness, brightness, 255))


def _disc(image: Image.Image, chance: random.Random, color: Color) -> None:
    """A sun or moon with a glow around it, which is blurred small and then stretched."""
    radius = min(image.size) * chance.uniform(0.07, 0.15)
    x, y = image.width * chance.uniform(0.2, 0.8), image.height * chance.uniform(0.18, 0.45)
    small = Image.new("L", (128, 128))
    scale_x, scale_y = 128 / image.width, 128 / image.height
    for growth, light in ((3.2, 50), (1.9, 110)):
        ImageDraw.Draw(small).ellipse(
            (
                (x - radius * growth) * scale_x, (y - radius * growth) * scale_y,
                (x + radius * growth) * scale_x, (y + radius * growth) * scale_y,
            ),
            fill=light,
        )  # fmt: skip
    glow = small.filter(ImageFilter.GaussianBlur(7)).resize(image.size, Image.Resampling.BICUBIC)
    image.paste(color, mask=glow)
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)


def _hills(image: Image.Image, chance: random.Random, hue: float, *, near: Color, far: Color) -> None:
    """Ranges from far to near, each the sum of a few waves; the far ones fade into the sky."""
    ranges = chance.randint(4, 6)
    draw = ImageDraw.Draw(image)
    step = max(1, image.width // 256)
    for index in range(ranges):
        depth = (index + 1) / ranges
        base = image.height * (0.42 + 0.42 * depth)
        waves = [
            (chance.uniform(0.6, 2.2) * 2**octave, chance.uniform(0, math.tau), 0.09 / 1.9**octave)
            for octave in range(4)
        ]
        ridge = [
            (x, base + image.height * sum(high * math.sin(math.tau * often * x / image.width + phase)
                                          for often, phase, high in waves))
            for x in range(0, image.width + step, step)
        ]  # fmt: skip
        color = _mix(_mix(far, _color(hue + 0.4, 0.4, 0.5), 0.35), near, depth)
        draw.polygon([(0, image.height), *ridge, (image.width, image.height)], fill=color)


def _birds(image: Image.Image, chance: random.Random) -> None:
    draw = ImageDraw.Draw(image)
    unit = min(image.size) / 60
    for _ in range(chance.randint(0, 7)):
        x, y = image.width * chance.uniform(0.1, 0.9), image.height * chance.uniform(0.1, 0.4)
        span = unit * chance.uniform(0.5, 1.1)
        width = max(1, round(span / 5))
        for left, right in ((x - 2 * span, x), (x, x + 2 * span)):
            draw.arc((left, y, right, y + span * 1.4), 200, 340, fill=(40, 40, 55), width=width)
