"""What a command line says before anything has parsed it."""

from __future__ import annotations

from collections.abc import Sequence

_WITH_VALUE = ("-c", "--config", "--home")


def command_word(arguments: Sequence[str]) -> str | None:
    """The first word that is neither a global option nor its value."""
    words = iter(arguments)
    for word in words:
        if word in _WITH_VALUE:
            next(words, None)
        elif not word.startswith("-"):
            return word
    return None
