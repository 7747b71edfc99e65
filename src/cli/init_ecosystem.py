"""Reads a PM2 file: evaluated by node where there is one, else literal objects only."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..contract import WorkerctlError
from ..settings.redact import redact
from .init_literal import NotLiteral, read_literal

ECOSYSTEM_FILES = ("ecosystem.config.js", "ecosystem.config.cjs", "ecosystem.config.mjs", "ecosystem.json")
NODE_SECONDS = 20.0
MARK = "workerctl-ecosystem:"
SCRIPT = f"""
const {{ pathToFileURL }} = require('url');
import(pathToFileURL(process.argv[1])).then((found) => {{
  let value = found.default === undefined ? found : found.default;
  if (typeof value === 'function') value = value();
  process.stdout.write('\\n{MARK}' + JSON.stringify(value) + '\\n');
  process.exit(0);
}}).catch((error) => {{ console.error(String(error)); process.exit(1); }});
"""


class Unreadable(WorkerctlError):
    """The PM2 file cannot be read; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Ecosystem:
    """The apps of a PM2 file as it spells them, and what else stands in it."""

    apps: list[dict[str, Any]]
    others: tuple[str, ...]  # keys beside `apps`
    by_node: bool


def read_ecosystem(path: Path, node: str | None = None) -> Ecosystem:
    """The file's apps. `node` "" is none; None looks for one. Raises Unreadable."""
    if not path.is_file():
        raise Unreadable(f"{path}: there is no such file")
    if path.suffix in (".yml", ".yaml"):
        raise Unreadable(f"{path}: YAML is not read; write it as JSON or as ecosystem.config.js")
    program = shutil.which("node") if node is None else node
    if path.suffix == ".json" or not program:
        return _checked(path, _by_literals(path), by_node=False)
    return _checked(path, _by_node(path, program), by_node=True)


def _by_node(path: Path, program: str) -> Any:
    command = [program, "-e", SCRIPT, str(path.absolute())]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=path.absolute().parent, timeout=NODE_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise Unreadable(f"{path}: node did not finish it within {NODE_SECONDS:g} s") from None
    marked = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode != 0 or not marked:
        said = (done.stderr.strip().splitlines() or ["no word"])[0]
        raise Unreadable(f"{path}: node cannot read it: {redact(said)}")
    return json.loads(marked[-1].removeprefix(MARK))


def _by_literals(path: Path) -> Any:
    try:
        return read_literal(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise Unreadable(f"{path}: not UTF-8 at byte {error.start}") from None
    except NotLiteral as error:
        raise Unreadable(
            f"{path}: {error}; without node only literal objects are read: install node, or write the value out"
        ) from None


def _checked(path: Path, value: Any, *, by_node: bool) -> Ecosystem:
    """PM2 takes {apps: [...]}, {apps: {...}}, a list, or one app."""
    apps = value.get("apps", value) if isinstance(value, dict) else value
    apps = [apps] if isinstance(apps, dict) else apps
    if not isinstance(apps, list) or not all(isinstance(app, dict) for app in apps):
        raise Unreadable(f"{path}: it exports no apps, but {type(value).__name__}: expected {{ apps: [...] }}")
    others = tuple(key for key in value if key != "apps") if isinstance(value, dict) and "apps" in value else ()
    return Ecosystem(apps, others, by_node)
