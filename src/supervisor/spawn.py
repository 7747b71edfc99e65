"""Starts processes: by exec, or by asking a template for a fork."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress

from ..contract import ENV_ALIVE, ENV_CHANNEL, Channel
from .children import Child, Children
from .composition import Composition, Group
from .processes import leave_with_parent
from .readiness import Readiness
from .roster import Team, shown_name
from .signals import let_through
from .streams import Streams

FORKED_AS = {"pool": "worker", "template": "template", "once": "once"}  # what is none of these: "program"


class Spawner:
    """Every child begins here, in a session of its own and with nothing of ours but what is named."""

    def __init__(
        self, composition: Composition, children: Children, streams: Streams, readiness: Readiness, alive: int
    ) -> None:
        self._children = children
        self.readiness = readiness
        self._streams = streams
        self._alive = alive
        self._has_collector = any(group.kind == "collector" for group in composition.groups)
        self.wakes: dict[str, tuple[int, int]] = {}  # of every pool there was: read end, write end
        self._provide_wakes(composition.groups)
        boot = os.urandom(4).hex()
        self._identity = f"{composition.node.id[:8]}.{boot}"

    def close(self) -> None:
        for ends in self.wakes.values():
            for end in ends:
                os.close(end)

    def provide_wakes(self, teams: Iterable[Team]) -> None:
        """A pool that comes with a reload needs one too, before the agent and its workers are told of it."""
        self._provide_wakes(team.group for team in teams)

    def _provide_wakes(self, groups: Iterable[Group]) -> None:
        for group in groups:
            if group.kind == "pool" and group.name not in self.wakes:
                self.wakes[group.name] = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def execute(self, group: Group, slot: int, serial: int) -> Child:
        """Raises OSError where the command cannot be run or descriptors have run out."""
        with ExitStack() as stack:
            out, err = self._outputs(group, slot, serial, stack)
            environment = dict(os.environ) | group.env
            inherited = []
            channel = None
            if group.ready.kind == "notify":
                environment["NOTIFY_SOCKET"] = self.readiness.open(serial)
                stack.push(lambda kind, _error, _trace: self.readiness.forget(serial) if kind else None)
            if group.role or group.ready.kind == "channel":
                channel, theirs = Channel.pair()
                stack.callback(theirs.close)
                stack.callback(_close_unless_added, channel, serial, self._children)
                environment[ENV_CHANNEL] = str(theirs.fileno())
                inherited.append(theirs.fileno())
            if group.role:
                environment[ENV_ALIVE] = str(self._alive)
                inherited.append(self._alive)
            pid = _execute(group.command, group, environment, inherited, out, err)
            child = Child(group, slot, serial, pid, channel=channel)
            self._children.add(child)
            return child

    def ask_fork(self, template: Child, group: Group, slot: int, serial: int) -> Child:
        """A worker, a template's spare or a role; its pid follows as `forked`. Raises OSError without descriptors."""
        worker = group.kind == "pool"
        incarnation = f"{self._identity}.{serial}" if worker else None
        with ExitStack() as stack:
            out, err = self._outputs(group, slot, serial, stack)
            channel, theirs = Channel.pair()
            stack.callback(theirs.close)
            stack.callback(_close_unless_added, channel, serial, self._children)
            request = {
                "type": "fork",
                "as": FORKED_AS.get(group.kind, "program"),
                "module": group.command[-1] if group.command else None,  # of a program, as `python -m` knows it
                "serial": serial,
                "incarnation": incarnation,
                "pool": group.name,
                "slot": slot,
                "cores": group.cores,
                "nice": group.nice,
            }
            wake = self.wakes[group.name] if worker else ()
            self._children.tell(template, request, (theirs.fileno(), out, err, *wake))
            child = Child(group, slot, serial, None, incarnation, channel, template.serial)
            self._children.add(child)
            return child

    def _outputs(self, group: Group, slot: int, serial: int, stack: ExitStack) -> tuple[int, int]:
        """Where its output goes: into pipes for the collector; its own, and all where there is none, goes to ours."""
        if group.kind == "collector" or not self._has_collector:
            return 2, 2
        out, err = self._streams.open(shown_name(group.name), slot, serial)
        stack.callback(os.close, out)
        stack.callback(os.close, err)
        stack.push(lambda kind, _error, _trace: self._streams.forget(serial) if kind else None)
        return out, err


def run_probe(command: Sequence[str], folder: str | None) -> int:
    """The pid of a started readiness probe; it says nothing and is reaped like every child."""
    silence = subprocess.DEVNULL
    return _start(command, stdin=silence, stdout=silence, stderr=silence, cwd=folder)


def run_aside(command: Sequence[str], folder: str | None) -> int:
    """The pid of a command of ours that changes what we run; what it says goes to our own log."""
    return _start(command, stdin=subprocess.DEVNULL, stdout=2, stderr=2, cwd=folder)


def _execute(
    command: Sequence[str], group: Group, environment: dict[str, str], inherited: Sequence[int], out: int, err: int
) -> int:
    options: dict[str, object] = {} if group.role else {"preexec_fn": leave_with_parent(group.stop_signal)}
    pid = _start(
        command,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        env=environment,
        cwd=group.cwd,
        pass_fds=inherited,
        **options,
    )
    if group.cores is not None and hasattr(os, "sched_setaffinity"):
        with suppress(OSError):  # it has ended already, or a core is not ours to use: it runs where it may
            os.sched_setaffinity(pid, group.cores)
    return pid


def _start(command: Sequence[str], **options: object) -> int:
    # a session of its own: Ctrl-C in the terminal must reach the supervisor only
    with let_through():
        process = subprocess.Popen(command, start_new_session=True, **options)  # type: ignore[call-overload]
    process.returncode = 0  # we reap: Popen must neither wait nor warn
    return int(process.pid)


def _close_unless_added(channel: Channel, serial: int, children: Children) -> None:
    if children.by_serial(serial) is None:
        channel.close()
