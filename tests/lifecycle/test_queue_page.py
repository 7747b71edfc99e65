"""docs/jobs.md and docs/from-celery.md: their handlers do with real workers what the pages say of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from lifecycle_house import CONFIG, House, until

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def taught(build_for_module: House) -> Iterator[House]:
    """A house whose job modules are what the pages teach: their blocks that declare handlers of a worker."""
    for page in ("jobs", "from-celery"):
        blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / f"{page}.md").read_text(), re.MULTILINE | re.DOTALL)
        module = "\n".join(block for block in blocks if "@job(" in block and "workerctl.testing" not in block)
        (build_for_module.folder / f"{page.replace('-', '_')}.py").write_text(module)
    build_for_module.configure(CONFIG.replace('["kinds"]', '["jobs", "from_celery"]'))
    build_for_module.start(2)
    yield build_for_module


def test_a_handler_returns_its_result_says_its_progress_and_logs(taught: House) -> None:
    job = taught.until_status(taught.enqueue("thumbnail.make", key="a.png"), "succeeded")
    assert job["result"] == {"made": "a.png@256"}
    until(lambda: "resizing" in taught.ok("jobs", "show", job["id"]), what="its log")
    refused = taught.until_status(taught.enqueue("thumbnail.make", key=7), "dead")
    assert "$.key" in refused["error"]


@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        ({"unknown": True}, "dead", "there is no such customer"),
        ({"quota": True}, "pending", "mail quota is used up"),
        ({"busy": True}, "pending", "server busy"),
        ({"unwanted": True}, "cancelled", "customer left"),
        ({}, "succeeded", None),
    ],
)
def test_a_handler_says_what_is_to_become_of_its_job(
    taught: House, said: dict[str, bool], status: str, words: str | None
) -> None:
    job = taught.enqueue("invoice.send", **said)
    until(lambda: taught.job(job)["attempt"] == 1 and taught.job(job)["status"] == status, what=status)
    ended = taught.job(job)
    assert ended["error"] == words
    assert ended["failures"] == (1 if "busy" in said or "unknown" in said else 0)


def test_an_album_is_published_when_its_pictures_are_made(taught: House) -> None:
    album = taught.until_status(taught.enqueue("album.make", keys=["a", "b"], album=7), "succeeded")
    assert (album["children_succeeded"], album["children_dead"]) == (2, 0)
    [published] = until(lambda: taught.json("jobs", "list", "--kind", "album.publish"))
    ended = taught.until_status(published["id"], "succeeded")
    assert (ended["payload"], ended["result"]) == ({"album": 7, "parent": album["id"]}, {"pictures": 2})


def test_metrics_are_stored_together_and_each_has_its_own_outcome(taught: House) -> None:
    good, bad = taught.enqueue_all("metric.store", [{"name": "x"}, {}])
    assert taught.until_status(good, "succeeded")["result"] == {"stored": "x"}
    assert taught.until_status(bad, "dead")["error"] == "no name"


def test_a_greeting_looks_its_plan_up(taught: House) -> None:
    assert taught.until_status(taught.enqueue("greeting.write", user="u1"), "succeeded")["result"] == {"plan": "free"}


def test_a_chord_calls_its_body_and_a_chain_goes_on(taught: House) -> None:
    album = taught.until_status(taught.enqueue("shop.album", keys=["a"], album=7), "succeeded")
    [published] = until(lambda: taught.json("jobs", "list", "--kind", "shop.publish"))
    ended = taught.until_status(published["id"], "succeeded")
    assert ended["payload"] == {"album": 7, "parent": album["id"]}
    [notify] = taught.json("jobs", "list", "--kind", "shop.notify")
    assert (notify["status"], notify["payload"]) == ("pending", {"album": 7}), "nobody here knows it"
