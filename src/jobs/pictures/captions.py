"""Draws a prompt's words on a picture where a font has them; knows where fonts lie, Chinese ones too."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont

CAPTION_LIMIT = 120  # characters; longer prompts end in an ellipsis
LINES = 3
_FOLDERS = (
    "/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts",
    "/Library/Fonts", "/System/Library/Fonts",
)  # fmt: skip
_CHINESE_FONTS = (
    "notosanscjk", "notoserifcjk", "sourcehan", "wqy", "droidsansfallback", "uming", "ukai", "pingfang",
    "heiti", "hiragino", "arphic",
)  # fmt: skip
_UNASSIGNED = "\U000effff"  # every font draws its sign for what it does not have


def draw_caption(image: Image.Image, text: str) -> bool:
    """Write the text over a darkened band at the foot; False where no font here has its characters.

    Latin text is drawn with Pillow's own font, the same on every machine.
    """
    words = " ".join(text.split())
    words = words if len(words) <= CAPTION_LIMIT else words[: CAPTION_LIMIT - 1] + "…"
    size = max(9, min(image.size) // 18)
    font = font_for(words, size)
    if font is None or not words:
        return False
    margin = size
    lines = _wrapped(words, font, image.width - 2 * margin)
    line_height = round(size * 1.35)
    top = image.height - line_height * len(lines) - margin
    _darken(image, max(0, top - size // 2))
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((margin, top + number * line_height), line, font=font, fill=(250, 248, 240))
    return True


def font_for(words: str, size: int) -> Font | None:
    """Pillow's own font, else the first Chinese one here, that has all these characters; None where none has."""
    for path in (None, *_font_paths()):
        font = _font(path, size)
        if font is not None and _has_all(font, words):
            return font
    return None


def in_fonts(words: str, size: int) -> list[tuple[str, Font]]:
    """The words in pieces, each with a font that has its characters; what no font here has is left out."""
    pieces: list[tuple[str, Font]] = []
    for character in words:
        font = font_for(character, size) if character != " " or not pieces else pieces[-1][1]
        if font is None:
            continue
        if pieces and pieces[-1][1] is font:
            pieces[-1] = (pieces[-1][0] + character, font)
        else:
            pieces.append((character, font))
    return pieces


@lru_cache(maxsize=1)
def _font_paths() -> tuple[str, ...]:
    """Fonts with Chinese characters, the wanted ones first."""
    found: dict[str, str] = {}
    for folder in _FOLDERS:
        for place, _, names in os.walk(Path(folder).expanduser()):
            found |= {name.lower(): str(Path(place) / name) for name in names}
    return tuple(
        path
        for wanted in _CHINESE_FONTS
        for name, path in sorted(found.items())
        if name.startswith(wanted) and name.endswith((".ttf", ".ttc", ".otf"))
    )


@lru_cache(maxsize=8)
def _font(path: str | None, size: int) -> Font | None:
    try:
        font = ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)
    except OSError:
        return None
    return font if isinstance(font, ImageFont.FreeTypeFont) else None


def _has_all(font: Font, words: str) -> bool:
    unknown = bytes(font.getmask(_UNASSIGNED))
    return all(bytes(font.getmask(character)) != unknown for character in set(words) - {" "})


def _wrapped(words: str, font: Font, width: int) -> list[str]:
    """Lines that fit the width: broken at spaces, between Chinese characters, and where nothing else fits."""
    lines: list[str] = []
    line = ""
    for character in words:
        if line and font.getlength(line + character) > width:
            head, space, tail = line.rpartition(" ")
            keeps_word = bool(space) and character != " " and tail.isascii()
            lines.append(head if keeps_word else line)
            line = tail if keeps_word else ""
        line = (line + character).lstrip()
    lines.append(line)
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], lines[LINES - 1][:-1] + "…"]
    return lines


def _darken(image: Image.Image, top: int) -> None:
    height = image.height - top
    shade = Image.linear_gradient("L").resize((image.width, height)).point(lambda value: min(190, value * 2))
    image.paste((10, 10, 18), (0, top, image.width, image.height), shade)
