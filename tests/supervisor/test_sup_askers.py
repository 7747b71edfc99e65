"""Whose wish an end was: remembered by group and cause, forgotten when the supervisor decides itself. Pure."""

from __future__ import annotations

import os
import subprocess
import sys

from toy_house import until

from workerctl.supervisor import events as ev
from workerctl.supervisor.askers import Asker, Askers, asker_of
from workerctl.supervisor.control import Request
from workerctl.supervisor.members import IN_ORDER, Member
from workerctl.supervisor.states import Cause

ANNA, BEN = Asker("anna"), Asker("ben")


def drained(cause: Cause) -> Member:
    return Member(1, 0.0, drain_cause=cause, drain_at=1.0)


def test_each_group_remembers_its_own_wish() -> None:
    askers = Askers()
    askers.wished([ev.RestartAsked(0.0, "a"), ev.Scaled(0.0, "a", 3)], ANNA)
    askers.wished([ev.RestartAsked(0.0, "b")], BEN)
    assert askers.of("a", drained(Cause.ASKED), Cause.ASKED) is ANNA
    assert askers.of("a", drained(Cause.SCALED), Cause.SCALED) is ANNA
    assert askers.of("b", drained(Cause.ASKED), Cause.ASKED) is BEN
    assert askers.of("b", drained(Cause.SCALED), Cause.SCALED) is None


def test_a_stop_is_everybodys_and_replaces_earlier_wishes() -> None:
    askers = Askers()
    askers.wished([ev.RestartAsked(0.0, "a")], ANNA)
    askers.wished([ev.StopAsked(1.0, IN_ORDER)], BEN)
    assert askers.of("a", drained(Cause.ASKED), Cause.ASKED) is BEN
    askers.forget(Cause.ASKED)
    assert askers.of("a", drained(Cause.ASKED), Cause.ASKED) is None


def test_who_left_by_itself_was_asked_by_nobody() -> None:
    askers = Askers()
    askers.wished([ev.RestartAsked(0.0, "a")], ANNA)
    assert askers.of("a", Member(1, 0.0), Cause.ASKED) is None
    assert askers.of("a", drained(Cause.LIFETIME), Cause.LIFETIME) is None


def test_a_peer_is_told_with_its_command_line_and_without_secrets_or_paths() -> None:
    arguments = {"composition": "/home/x.json", "name": None, "reason": "new\n weights", "to": 3}
    asker = asker_of(Request("reload", arguments, 7, os.getpid()))
    assert asker.command == "reload to=3"
    assert asker.document() | {"command_line": ""} == {
        "command": "reload to=3", "uid": 7, "pid": os.getpid(), "command_line": "", "reason": "new weights"
    }  # fmt: skip
    assert "pytest" in (asker.command_line or "")
    assert asker_of(Request("stop", {}, 7, 2**22 + 5)).command_line is None


def test_words_of_a_command_line_that_may_hold_a_password_are_hidden() -> None:
    words = ("postgresql://me:geheim@db/queue", "--Password=geheim", "--api-key", "geheim", "/srv/tokens", "scale")
    with subprocess.Popen([sys.executable, "-c", "input()", *words], stdin=subprocess.PIPE) as peer:
        asker = until(lambda: (found := asker_of(Request("scale", {}, 7, peer.pid))).command_line and found)  # it execs
        told = asker.command_line or ""
        peer.communicate(b"\n")
    assert told.endswith("*** *** *** *** /srv/tokens scale")
