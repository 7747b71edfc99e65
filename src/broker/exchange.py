"""The worker's one statement, typed: what it reports and what it is told."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import msgspec
import psycopg

from .connection import answer, statement

# How an attempt is counted. Every attempt is asked often: a match on classes costs three times as much as an attribute.
CountsAs = Literal["succeeded", "failed", "dead", "cancelled"]


class Ended(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A job that ends now: succeeded, dead or cancelled."""

    id: int
    attempt: int
    status: Literal["succeeded", "dead", "cancelled"] = "succeeded"
    result: msgspec.Raw | None = None
    error: str | None = None

    @property
    def counts_as(self) -> CountsAs:
        return self.status


class Again(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A job that goes back to pending: a failure to be retried, a snooze, or a hand-back, which keeps its place."""

    id: int
    attempt: int
    failed: bool = msgspec.field(default=False)
    delay_seconds: float = msgspec.field(default=0.0)
    error: str | None = None
    keeps_place: bool = False

    @property
    def counts_as(self) -> CountsAs | None:
        """None where it cost no attempt."""
        return "failed" if self.failed else None


class Parent(msgspec.Struct, frozen=True, omit_defaults=True):
    """A job whose handler is done and whose children now begin."""

    counts_as: ClassVar[CountsAs] = "succeeded"
    id: int
    attempt: int
    children: list[dict[str, Any]]
    result: msgspec.Raw | None = None
    on_done: dict[str, Any] | None = None


class FollowUp(msgspec.Struct, frozen=True):
    """A job that a handler enqueued; it comes to be if the settlement of `id` counts."""

    id: int
    spec: dict[str, Any]


class Progress(msgspec.Struct, frozen=True):
    id: int
    attempt: int
    done: int
    total: int


class RunStats(msgspec.Struct):
    """Attempts of one kind in one queue that ended since this was last said; histograms map a bucket to a count."""

    queue: str
    kind: str
    succeeded: int = 0
    failed: int = 0
    dead: int = 0
    cancelled: int = 0
    wait_seconds: float = 0.0
    run_seconds: float = 0.0
    waits: dict[int, int] = {}
    runs: dict[int, int] = {}


class Request(msgspec.Struct, omit_defaults=True):
    """One round trip; empty lists are left out, so that an idle one is a few bytes."""

    want: int = 0
    session: int | None = None  # of the connection that says this; None is not compared
    in_hand: int = 0
    warm: bool = False  # this connection's first question: its server is to plan what is asked later, too
    renew_seconds: float | None = None
    ended: list[Ended] = []
    again: list[Again] = []
    parents: list[Parent] = []
    follow_ups: list[FollowUp] = []
    progress: list[Progress] = []
    logs: list[dict[str, Any]] = []
    stats: list[RunStats] = []


class Claimed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A job as it is handed out; the order of its fields is that of `workerctl.exchange`."""

    id: int
    kind: str
    queue: str
    attempt: int
    failures: int
    deaths: int
    max_attempts: int
    priority: int
    user_id: str | None
    plan: str | None
    parent_id: int | None
    created_at: dt.datetime
    payload: msgspec.Raw
    waited: float = 0.0  # seconds from when it was due until it was handed out


class Reply(msgspec.Struct):
    """What the database says. `gone`: this worker was given up; nothing of what it holds is its own any more.

    So says it too to a connection that is not the worker's last one, where nobody listens any more.
    """

    gone: bool = False
    lost: list[int] | None = None
    cancel: list[int] | None = None
    claimed: list[Claimed] | None = None
    more: bool = False  # when it was claimed, more than one job was due, or perhaps so


class Resumed(msgspec.Struct, frozen=True):
    """What a worker that has connected may go on with: its session, and (id, attempt) of every claim it holds."""

    session: int | None
    claims: set[tuple[int, int]]


FIRST = Resumed(0, set())  # of a worker that has just been registered: `workerctl.worker.session` begins there


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Reply)


def exchange(
    connection: psycopg.Connection[Any],
    worker_id: int,
    request: Request,
    ahead: Callable[[Reply], None] | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> Reply:
    """One statement, one transaction. Raises psycopg.Error where nothing of it is known to have happened.

    `ahead` is given the reply as soon as it is here, while the server still commits: it may prepare, and begin nothing.
    `meanwhile` is called before that, while the server works.
    """

    def read(content: bytes) -> Reply:
        reply = _decoder.decode(content)
        if ahead is not None:
            ahead(reply)
        return reply

    return answer(connection, "exchange", read, b"%d" % worker_id, _encoded(request), meanwhile=meanwhile)


def resume(connection: psycopg.Connection[Any], worker_id: int, incarnation: str) -> Resumed:
    """Make this connection the worker's only one: what an earlier one said is done by now, or never will be."""
    row = connection.execute(statement("resume"), [worker_id, incarnation]).fetchone()
    assert row is not None
    return msgspec.json.decode(row[0], type=Resumed)


def _encoded(request: Request) -> bytes:
    """As `workerctl.hear` takes it: jobs that succeeded at their first attempt, with no result, are ids in one text."""
    firsts, ended = [], []
    for item in request.ended:
        if item.attempt == 1 and item.status == "succeeded" and item.result is None and item.error is None:
            firsts.append(item.id)
        else:
            ended.append(item)
    if not firsts:
        return _encoder.encode(request)
    content = _encoder.encode(msgspec.structs.replace(request, ended=ended))
    text = b'{"firsts":"{%b}"' % ",".join(map(str, firsts)).encode()
    return text + (b"," if len(content) > 2 else b"") + content[1:]
