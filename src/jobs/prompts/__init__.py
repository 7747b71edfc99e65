"""Prompt templates: files of text, ours here and the user's in [jobs] prompts, whose own come first."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import NamedTuple

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,60}(/[a-z0-9][a-z0-9_-]{0,60}){0,3}")
SYSTEM_END = re.compile(r"^---[ \t]*\n", re.MULTILINE)
LIMIT_BYTES = 256 * 1024


class NoTemplate(ValueError):
    """There is no such template, or it cannot be filled; the message says why."""


class Template(NamedTuple):
    """What stands before the first line `---` is said to the system, the rest to the model. Holes are $name."""

    system: string.Template
    user: string.Template

    @property
    def holes(self) -> set[str]:
        """The names of what must be given."""
        return {*self.system.get_identifiers(), *self.user.get_identifiers()}

    def filled(self, variables: Mapping[str, object]) -> tuple[str, str]:
        """(system, user). Raises NoTemplate for holes that nothing is given for."""
        missing = sorted(self.holes - variables.keys())
        if missing:
            raise NoTemplate(f"it has ${', $'.join(missing)}, and nothing is given for it")
        return self.system.substitute(variables).strip(), self.user.substitute(variables).strip()


def template(name: str, folder: str) -> Template:
    """The template NAME.md in the user's folder, else of ours. Raises NoTemplate."""
    if not NAME.fullmatch(name):
        raise NoTemplate(f"{name[:80]!r} is no name of a template: small letters, digits, -, _ and / between them")
    path = Path(folder) / f"{name}.md"
    try:
        own = path.read_bytes() if path.is_file() else None
        ours = resources.files(__package__) / f"{name}.md"
        content = own if own is not None else ours.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise NoTemplate(f"there is no template {name!r} in {folder} nor among ours ({', '.join(_ours())})") from None
    except OSError as error:
        raise NoTemplate(f"{path}: {error.strerror}") from None
    if len(content) > LIMIT_BYTES:
        raise NoTemplate(f"{path} has {len(content):,} bytes; at most {LIMIT_BYTES:,} are taken")
    return _parsed(content.decode("utf-8", "replace"))


def _parsed(text: str) -> Template:
    parts = SYSTEM_END.split(text.replace("\r\n", "\n"), maxsplit=1)
    made = Template(string.Template(parts[0] if len(parts) > 1 else ""), string.Template(parts[-1]))
    for part in made:
        if not part.is_valid():
            raise NoTemplate("a $ in it is followed by no name; write $$ for the sign itself")
    return made


def _ours() -> list[str]:
    files = resources.files(__package__).iterdir()
    return sorted(file.name.removesuffix(".md") for file in files if file.name.endswith(".md"))
