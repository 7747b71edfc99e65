"""Plain tables: rich's cost 100 ms to import, which `status` does not have. Knows the width of Chinese."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Sequence

LAST_LEAST = 16  # columns of a last column that is cut
COLOURS = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36", "grey": "90", "bold": "1"}


def coloured(text: str, colour: str | None) -> str:
    """The text in a colour where stdout is a terminal."""
    if colour is None or not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return text
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m"


def width(text: str) -> int:
    """Columns that a text takes on a terminal: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def printable(text: str) -> str:
    """The text on one line, without what would steer a terminal: users and programs wrote it."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else " " if each.isspace() else "\N{REPLACEMENT CHARACTER}" for each in text
    )


def cut(text: str, columns: int) -> str:
    """As much of a text as so many columns hold; all of it where nobody knows how many there are."""
    while columns > 0 and width(text) > columns:
        text = text[:-1]
    return text


Cell = str | tuple[str, str | None]  # text, or text and its colour


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    right: frozenset[int] = frozenset(),
    spare: Sequence[int] = (),
    cut_last: bool = False,
) -> str:
    """Aligned columns, two spaces apart; columns in `right` are numbers.

    On a terminal that is too narrow for all, those in `spare` are left out, the first ones first, until what is left
    fits; with `cut_last` the last one, which is words, gives way before them down to LAST_LEAST columns.
    """
    cells = [[_text_and_colour(cell) for cell in row] for row in (header, *rows)]
    cells[0] = [(title, "grey") for title in header]
    widths = [max(width(row[column][0]) for row in cells) for column in range(len(header))]
    kept = list(range(len(header)))
    whole, columns = widths[-1], _terminal_columns()
    if cut_last:
        widths[-1] = min(whole, LAST_LEAST)
    for column in spare:
        if sum(widths[each] + 2 for each in kept) - 2 <= columns:
            break
        kept.remove(column)
    if cut_last:
        room = columns - sum(widths[each] + 2 for each in kept[:-1])
        widths[-1] = int(min(whole, max(room, LAST_LEAST)))
        cells = [[*row[:-1], (_shortened(row[-1][0], widths[-1]), row[-1][1])] for row in cells]
    numbers = frozenset(place for place, column in enumerate(kept) if column in right)
    shown = [widths[column] for column in kept]
    return "\n".join(_line([row[column] for column in kept], shown, numbers) for row in cells)


def flow(parts: Sequence[Cell]) -> str:
    """Two spaces apart on one line; on a terminal that is too narrow a part that does not fit begins the next line."""
    columns = _terminal_columns()
    lines: list[list[str]] = [[]]
    taken = 0
    for part in parts:
        text, colour = _text_and_colour(part)
        if lines[-1] and taken + 2 + width(text) > columns:
            lines.append([])
            taken = 0
        taken += (2 if lines[-1] else 0) + width(text)
        lines[-1].append(coloured(text, colour))
    return "\n".join(map("  ".join, lines))


def _text_and_colour(cell: Cell) -> tuple[str, str | None]:
    return (printable(cell[0]), cell[1]) if isinstance(cell, tuple) else (printable(cell), None)


def _shortened(text: str, columns: int) -> str:
    return text if width(text) <= columns else cut(text, columns - 1) + "…"


def _terminal_columns() -> float:
    """No limit into a pipe or a file."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or float("inf")
    except (OSError, ValueError):
        return float("inf")


def _line(row: Sequence[tuple[str, str | None]], widths: Sequence[int], right: frozenset[int]) -> str:
    parts = []
    for column, (text, colour) in enumerate(row):
        padding = " " * (widths[column] - width(text))
        shown = coloured(text, colour)
        parts.append(padding + shown if column in right else shown + padding)
    return "  ".join(parts).rstrip()


def counted(count: int, word: str) -> str:
    """1 worker, 2 workers."""
    return f"{count} {word}{'s' * (count != 1)}"


def seconds(value: float | None) -> str:
    """A duration as people say it: 850ms, 12s, 3m 20s, 5h 3m, 2d 4h."""
    if value is None:
        return "-"
    if value < 1:
        return f"{value * 1000:.0f}ms" if value >= 0.01 else f"{value * 1000:.2g}ms"
    if value < 60:
        return f"{value:.0f}s"
    minutes, rest = divmod(int(value), 60)
    if minutes < 60:
        return f"{minutes}m {rest}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h {minutes}m"
    return f"{hours // 24}d {hours % 24}h"


def size(value: int | None) -> str:
    """Bytes as people say them, in steps of 1024."""
    if value is None:
        return "-"
    amount = float(value)
    for unit in ("B", "KB", "MB"):
        if amount < 1024:
            return f"{amount:.0f}{unit}"
        amount /= 1024
    return f"{amount:.1f}GB"
