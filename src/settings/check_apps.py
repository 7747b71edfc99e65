"""Rules over [apps.NAME]: commands that can be read, readiness that can be found out, an order that has a begin."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from .build import Raw
from .refusal import dotted, refused
from .types import Settings

ROLES_TO_FOLLOW = ("postgres", "migrate", "agent")


def check_apps(settings: Settings, raw: Raw) -> None:
    """Raise Unusable for the first rule that an app breaks; its name is judged elsewhere."""
    for name, app in settings.apps.items():
        wrong = {
            "command": _wrong_command(app.command),
            "ready": _wrong_ready(app.ready),
            "after": next(_wrong_after(settings, name), None),
        }
        for key, problem in wrong.items():
            if problem:
                path = ("apps", name, key)
                raise refused(raw.source(path), path, raw.values["apps"][name][key], problem)


def _wrong_command(command: str | tuple[str, ...]) -> str | None:
    try:
        words = shlex.split(command) if isinstance(command, str) else command
    except ValueError as error:
        return f"{error}: expected a command line, or a list of its words"
    return None if words and words[0] else "expected a command line, or a list of its words"


def _wrong_ready(ready: object) -> str | None:
    if not isinstance(ready, dict):
        return None
    port, command = ready.get("port"), ready.get("command")
    right = (type(port) is int and 0 < port < 65536) or (isinstance(command, str) and not _wrong_command(command))
    return None if right and len(ready) == 1 else 'expected {port = 8000} or {command = "..."}'


def _wrong_after(settings: Settings, name: str) -> Iterator[str]:
    known = (*settings.pools, *settings.apps, *ROLES_TO_FOLLOW)
    for other in settings.apps[name].after:
        if other not in known:
            yield f"there is no {dotted((other,))}; there are {', '.join(known)}"
    seen: set[str] = set()
    ahead = list(settings.apps[name].after)
    while ahead:
        other = ahead.pop()
        if other == name:
            yield "goes round in a circle"
        if other in settings.apps and other not in seen:
            seen.add(other)
            ahead += settings.apps[other].after
