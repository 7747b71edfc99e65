"""Pure: a handler for a kind of job, and a test of it that passes."""

from __future__ import annotations

import keyword
import re

HANDLER = '''\
"""The job {kind}. Enqueue one with: workerctl enqueue {kind} name=world --wait"""

from __future__ import annotations

from dataclasses import dataclass

from workerctl import Context, job


@dataclass
class Payload:
    """What a job of this kind needs; checked when it is enqueued, and again before it runs."""

    name: str


@job("{kind}", timeout_seconds=60)
def handle(payload: Payload, ctx: Context) -> dict:
    """May be `async def` as well. It may run more than once, so it writes under a key that stays the same."""
    ctx.log("writing a greeting", name=payload.name)
    stored = ctx.storage.put(f"greetings/{{payload.name}}.txt", f"Hello, {{payload.name}}!".encode())
    ctx.progress(1, 1)
    return {{"key": stored.key, "bytes": stored.size_bytes}}
'''

TEST = '''\
"""Runs the handler of {kind} on local files, without a database: python -m pytest {test}.py"""

import pytest
from {module} import Payload, handle

from workerctl import InvalidPayload
from workerctl.testing import context, run


def test_the_greeting_is_stored_and_said(tmp_path):
    ctx = context(tmp_path, kind="{kind}", user_id="u1")

    result = run(handle, Payload(name="世界"), ctx)

    assert ctx.storage.get(result["key"]).decode() == "Hello, 世界!"
    assert ctx.progress_now == (1, 1)
    assert [line["message"] for line in ctx.logged] == ["writing a greeting"]


def test_a_payload_without_a_name_is_refused(tmp_path):
    with pytest.raises(InvalidPayload, match="name"):
        run(handle, {{}}, context(tmp_path, kind="{kind}"))
'''


def module_name(kind: str) -> str:
    """The module for a kind. Its ending keeps it apart from installed modules of the kind's name."""
    words = re.sub(r"\W+", "_", kind).strip("_").lower() or "my"
    name = f"{words}_job"
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"job_{words}"


def handler_text(kind: str) -> str:
    return HANDLER.format(kind=kind)


def proof_text(kind: str) -> str:
    module = module_name(kind)
    return TEST.format(kind=kind, module=module, test=f"test_{module}")
