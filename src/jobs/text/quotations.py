"""Finds quotations in a text, as models copy them: other spaces, quotation marks and widths are forgiven. Pure."""

from __future__ import annotations

import unicodedata

SHORTEST, LONGEST = 2, 200  # letters of a quotation
_SAME = str.maketrans("“”„‟«»「」『』‘’‚‛`´—–―…", '"' * 10 + "'" * 6 + "---" + ".")


class Quotable:
    """A text in which quotations are looked up."""

    def __init__(self, text: str) -> None:
        self._text = text
        letters: list[str] = []
        self._places: list[int] = []  # of each letter in the text
        for place, character in enumerate(text):
            for letter in _plain(character):
                letters.append(letter)
                self._places.append(place)
        self._plain = "".join(letters)

    def quoted(self, quotation: str) -> str | None:
        """The stretch of the text that the quotation copies, as it stands there; None where there is none."""
        wanted = "".join(_plain(character) for character in quotation.strip().strip("\"'“”「」『』"))
        if not SHORTEST <= len(wanted) <= LONGEST:
            return None
        start = self._plain.find(wanted)
        if start < 0:
            return None
        return self._text[self._places[start] : self._places[start + len(wanted) - 1] + 1]


def _plain(character: str) -> str:
    """Nothing for spaces; one form for all that look alike."""
    if character.isspace():
        return ""
    return unicodedata.normalize("NFKC", character.translate(_SAME)).translate(_SAME).strip().casefold()
