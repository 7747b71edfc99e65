"""Draws a contact sheet: the pictures of a batch in a grid, each with its caption; what failed has a grey cell."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from PIL import Image, ImageDraw

from .captions import in_fonts

CELL_PIXELS = 256
GAP_PIXELS = 12
CAPTION_PIXELS = 34  # below each picture
TITLE_PIXELS = 56
COLUMNS_LIMIT = 8
TEXT_LIMIT = 200  # characters; fewer fit into any line
_GROUND, _CELL, _INK, _FAINT = (250, 250, 248), (226, 226, 224), (40, 40, 44), (120, 120, 124)


@dataclass(frozen=True, slots=True)
class Cell:
    """One place of the sheet. Without a picture the caption says why there is none."""

    picture: Image.Image | None
    caption: str


def draw_sheet(title: str, cells: Iterable[Cell], count: int) -> Image.Image:
    """`count` cells in a grid that is about as wide as it is high; one picture is held at a time.

    Chinese titles and captions are drawn where this machine has a font for them, else left out.
    """
    columns = max(1, min(COLUMNS_LIMIT, math.ceil(math.sqrt(count))))
    rows = max(1, math.ceil(count / columns))
    step_x, step_y = CELL_PIXELS + GAP_PIXELS, CELL_PIXELS + CAPTION_PIXELS + GAP_PIXELS
    size = (columns * step_x + GAP_PIXELS, TITLE_PIXELS + rows * step_y + GAP_PIXELS)
    sheet = Image.new("RGB", size, _GROUND)
    _write(sheet, title, (GAP_PIXELS, GAP_PIXELS), 26, sheet.width - 2 * GAP_PIXELS, _INK)
    for place, cell in enumerate(cells):
        left = GAP_PIXELS + place % columns * step_x
        top = TITLE_PIXELS + place // columns * step_y
        if cell.picture is None:
            ImageDraw.Draw(sheet).rectangle((left, top, left + CELL_PIXELS - 1, top + CELL_PIXELS - 1), fill=_CELL)
        else:
            _place(sheet, cell.picture, left, top)
        _write(sheet, cell.caption, (left, top + CELL_PIXELS + 6), 16, CELL_PIXELS, _INK if cell.picture else _FAINT)
    return sheet


def _place(sheet: Image.Image, picture: Image.Image, left: int, top: int) -> None:
    small = picture.copy()
    small.thumbnail((CELL_PIXELS, CELL_PIXELS))
    sheet.paste(small, (left + (CELL_PIXELS - small.width) // 2, top + (CELL_PIXELS - small.height) // 2))


def _write(
    sheet: Image.Image, text: str, at: tuple[int, int], size: int, width: int, ink: tuple[int, int, int]
) -> None:
    draw = ImageDraw.Draw(sheet)
    x, end = float(at[0]), at[0] + width
    for words, font in in_fonts(" ".join(text[:TEXT_LIMIT].split()), size):
        shown = words
        while shown and x + font.getlength(shown + "…") > end and x + font.getlength(words) > end:
            shown = shown[:-1]
        draw.text((x, at[1]), shown if shown == words else shown + "…", font=font, fill=ink)
        if shown != words:
            return
        x += font.getlength(words)
