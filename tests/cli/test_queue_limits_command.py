"""`workerctl limits set` says what it cannot do."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

NOW_ON = "note: it holds for what is enqueued from now on"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("image", []),
        ("image.generate", []),
        ("imgae", ["note: no worker has ever known the kind 'imgae'; did you mean image"]),
        ("user:{user_id}", [NOW_ON]),
    ],
)
def test_a_kind_that_nobody_knows_and_a_key_that_is_new_are_told(
    queue: psycopg.Connection[Any], database_url: str, call: Any, name: str, said: list[str]
) -> None:
    queue.execute("INSERT INTO workerctl.kind (name, queue) VALUES ('image.generate', 'default')")
    done = call("limits", "set", name, "3", DATABASE_URL=database_url)
    assert done.returncode == 0
    notes = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("note")]
    assert [note.startswith(start) for note, start in zip(notes, said, strict=True)] == [True] * len(said)
