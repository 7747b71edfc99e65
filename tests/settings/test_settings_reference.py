from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from workerctl.settings import Settings, load, reference
from workerctl.settings.reference import Entry

SHIPPED = Path(__file__).parents[2] / "config" / "workerctl.toml"
COMMENTED_KEY = re.compile(r"#(\w+) = (\S.*?)\s+# (.+)")
COMMENTED_TABLE = re.compile(r"#?\[([\w.]+)\]")


def shipped_keys() -> dict[str, tuple[str, str]]:
    """Of every commented key in the shipped file: its value and its comment."""
    found, table = {}, ""
    for line in SHIPPED.read_text().splitlines():
        if header := COMMENTED_TABLE.fullmatch(line):
            table = header[1] + "."
            table = re.sub(r"^(pools|apps|schedule|providers|budgets)\.\w+", r"\1.NAME", table)
        elif key := COMMENTED_KEY.fullmatch(line):
            found[table + key[1]] = (key[2], key[3])
        else:
            assert not line or line.startswith("# ") or line == "#", f"neither key nor comment: {line}"
    return found


def uncommented() -> str:
    return re.sub(r"^#(?=[\[\w])", "", SHIPPED.read_text(), flags=re.MULTILINE)


def test_every_key_stands_in_the_shipped_file_and_no_other():
    assert list(shipped_keys()) == [entry.key for entry in reference()]


def test_the_shipped_file_as_it_is_changes_nothing(tmp_path):
    (tmp_path / "workerctl.toml").write_text(SHIPPED.read_text())
    with_file = load(None, None, {}, tmp_path)
    (tmp_path / "workerctl.toml").unlink()
    assert with_file.settings == load(None, None, {}, tmp_path).settings
    assert set(with_file.origins.values()) == {"default"}


def test_every_key_uncommented_gives_the_defaults(tmp_path):
    (tmp_path / "workerctl.toml").write_text(uncommented())
    settings = load(None, None, {}, tmp_path).settings
    default = Settings()
    assert settings.supervisor == msgspec.structs.replace(
        default.supervisor, reserved_cores=0
    )  # depends on the machine
    assert settings.jobs == msgspec.structs.replace(
        default.jobs, path=(str(tmp_path),), prompts=str(tmp_path / "prompts")
    )
    assert (settings.storage, settings.images, settings.logs) == (default.storage, default.images, default.logs)
    assert (settings.database_url, settings.database_url_direct, settings.postgres_bin) == (None, None, None)
    assert settings.connection_limit == default.connection_limit
    pool = msgspec.structs.replace(default.pools["default"], path=(str(tmp_path),))
    content = msgspec.structs.replace(pool, queues=("content_generation",))
    assert settings.pools == {"default": pool, "content": content}
    web = settings.apps["web"]
    assert (web.command, web.cwd, web.ready, web.max_memory_bytes) == (
        "uvicorn app:api",
        str(tmp_path),
        "started",
        None,
    )
    nightly = settings.schedule["nightly"]
    assert (nightly.cron, nightly.kind, nightly.timezone, nightly.payload) == (
        "0 3 * * *",
        "maintenance.report",
        "UTC",
        {},
    )


@pytest.mark.parametrize("entry", reference(), ids=lambda entry: entry.key)
def test_units_are_named_beside_the_keys(entry: Entry):
    _, comment = shipped_keys()[entry.key]
    if entry.unit:
        assert ("duration" if entry.unit == "duration" else "size") in comment
    assert ("must be given" in comment) == entry.required
    assert entry.text and entry.expects
