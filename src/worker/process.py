"""A worker's main thread: waits in one place, hears the supervisor, and leaves in order."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import asdict
from types import FrameType
from typing import Any

from setproctitle import setproctitle

from ..broker.surroundings import Surroundings
from ..cache import cache_counts
from ..contract import Channel, ChannelClosed, Exit, next_beat, ring_wake_pipe
from .growth import Growth
from .identity import Identity
from .memory import give_memory_back
from .seats import Seats

LEAVE_MARGIN_SECONDS = 1.0  # hand back what is left so long before the supervisor would kill
NEWS_SECONDS = 0.25  # a worker that became busy or idle, or lost the database, says so, but not more often,
LASTING_SECONDS = 0.01  # and not before it has been so for so long: a job that just began needs the interpreter more
BOOT_SHARE = 0.8  # of the boot deadline is spent on reaching the database; then it is the database's fault


class WorkerProcess:
    """One worker from `go` to its end. `run` returns the exit code."""

    def __init__(self, me: Identity, around: Surroundings, channel: Channel, wake: tuple[int, int] | None) -> None:
        pool = around.settings.pools[me.pool]
        self._name = me.name
        self._channel = channel
        self._wake = wake
        self._seats = Seats(me, around)
        self._stop_timeout_seconds = pool.stop_timeout_seconds
        self._give_up_at = time.monotonic() + BOOT_SHARE * pool.boot_timeout_seconds
        self._epoll = select.epoll()
        self._hear: dict[int, Callable[[], None]] = {}  # by the descriptor that is readable
        self._listening_to_wake = False
        self._dialled = 0  # of the connection whose end is listened for
        self._terms = 0
        self._leave_at: float | None = None  # monotonic; draining since this is set
        self._ready = False
        self._told = (0, True)  # how many it runs, and whether the queue answers it
        self._growth = Growth()
        self._heartbeat_at = self._told_at = 0.0
        self._news_at = float("inf")

    def run(self) -> int:
        self._listen()
        self._wait_for_go()
        while True:
            self._wait()
            now = time.monotonic()
            self._seats.turn(now)
            if self._seats.more_due and self._wake is not None:
                ring_wake_pipe(self._wake[1])  # a sibling shall look
            if self._seats.stuck is not None:
                self._drain(self._seats.stuck)
            self._report(now)
            if self._leave_at is not None and (self._seats.hand.empty or now >= self._leave_at):
                return Exit.DONE if self._seats.leave() else Exit.UNREACHABLE
            if not self._ready and now >= self._give_up_at:
                return Exit.UNREACHABLE

    def _listen(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self._signals, self._signal_ring = ours, theirs  # both kept: the ring's descriptor is the signal module's
        signal.signal(signal.SIGTERM, self._on_term)
        signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        self._hear = {
            self._channel.fileno(): self._hear_the_supervisor,
            ours.fileno(): self._hear_signals,
            self._seats.runner.fileno(): self._seats.runner.heard,
        }
        for descriptor in self._hear:
            self._epoll.register(descriptor, select.EPOLLIN)
        if self._wake is not None:
            self._hear[self._wake[0]] = self._take_a_wake_byte

    def _on_term(self, _signal: int, _frame: FrameType | None) -> None:
        self._terms += 1

    def _wait_for_go(self) -> None:
        """Nothing happens before the supervisor has recorded this pid; without a supervisor there is nothing to do."""
        while not self._terms:
            self._epoll.poll()
            try:
                for message in self._channel.receive():
                    if message["type"] == "go":
                        self._seats.closed = not message.get("claims", True)  # else it only proves that it can serve
                        return
            except ChannelClosed:
                break
        os._exit(Exit.DONE)

    def _wait(self) -> None:
        self._mind_the_wake_pipe()
        self._mind_the_link()
        now = time.monotonic()
        dues = [self._heartbeat_at, self._news_at, self._seats.due_at(now)]
        if self._leave_at is not None:
            dues.append(self._leave_at)
        for descriptor, _ in self._epoll.poll(max(0.0, min(dues) - now)):
            self._hear[descriptor]()
        if self._terms:
            self._drain()

    def _mind_the_wake_pipe(self) -> None:
        """Only a worker with a free seat, and not just fed, takes wake-ups away from its siblings."""
        if self._wake is None:
            return
        wanted = self._seats.listens
        if wanted and not self._listening_to_wake:
            self._epoll.register(self._wake[0], select.EPOLLIN | select.EPOLLEXCLUSIVE)  # one byte wakes one of them
        elif self._listening_to_wake and not wanted:
            self._epoll.unregister(self._wake[0])
        self._listening_to_wake = wanted

    def _mind_the_link(self) -> None:
        """A worker that is idle, too, hears at once that its server has gone.

        Once a connection: what a handler forked keeps the descriptor known here after its end.
        """
        link = self._seats.link
        if link.up and link.dialled != self._dialled:
            self._dialled = link.dialled
            self._hear[link.fileno()] = self._seats.speak
            self._epoll.register(link.fileno(), select.EPOLLRDHUP | select.EPOLLONESHOT)

    def _take_a_wake_byte(self) -> None:
        assert self._wake is not None
        try:
            if os.read(self._wake[0], 1):
                self._seats.wake()
        except BlockingIOError:
            pass  # a sibling was faster

    def _hear_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._signals.recv(4096)

    def _hear_the_supervisor(self) -> None:
        try:
            for message in self._channel.receive():
                match message["type"]:
                    case "stop-claiming":
                        self._seats.closed = True
                    case "claim-again":
                        self._seats.closed = self._leave_at is not None
                        self._seats.wake()
                    case "trim":
                        give_memory_back()
        except ChannelClosed:
            self._epoll.unregister(self._channel)
            self._drain()

    def _drain(self, reason: str | None = None) -> None:
        """Stop claiming, finish what is in hand; a second SIGTERM leaves no time for that."""
        now = time.monotonic()
        if self._leave_at is None:
            self._seats.drain()
            self._leave_at = now + max(0.0, self._stop_timeout_seconds - LEAVE_MARGIN_SECONDS)
            self._channel.send({"type": "draining", **({"reason": reason} if reason else {})})
        if self._terms > 1:
            self._leave_at = now

    def _report(self, now: float) -> None:
        """Ready once, heartbeats for ever, and between them news: busy or idle, the queue lost or found."""
        if not self._ready and self._seats.link.up:
            self._ready = True
            self._channel.send({"type": "ready"})
        state = self._seats.runner.busy, self._serves
        if state == self._told:
            self._news_at = float("inf")
        elif self._news_at == float("inf"):
            self._news_at = max(now + LASTING_SECONDS, self._told_at + NEWS_SECONDS)
        if now >= min(self._heartbeat_at, self._news_at):
            self._heartbeat_at = next_beat(now)
            self._told_at, self._told, self._news_at = now, state, float("inf")
            busy, _ = state
            setproctitle(f"workerctl: worker {self._name}" + (f", {busy} running" if busy else ""))
            self._channel.send(self._heartbeat(now))

    @property
    def _serves(self) -> bool:
        return self._seats.link.serves and self._seats.apart.no_claims is None

    def _heartbeat(self, now: float) -> dict[str, Any]:
        hand = self._seats.hand
        self._growth.look(self._seats.claimed_kinds, (run.first.kind for run in hand.active))
        self._seats.claimed_kinds.clear()
        jobs = [
            {"id": run.first.id, "kind": run.first.kind, "seconds": round(max(0.0, now - run.started), 3)}
            for run in itertools.islice((run for run in hand.active if run.is_running), 20)
        ]
        return {
            "type": "heartbeat",
            "jobs_running": sum(len(run.jobs) for run in hand.active if run.is_running),
            "jobs_done": hand.jobs_done,
            "jobs_failed": hand.jobs_failed,
            "jobs": jobs,
            "growth": self._growth.told(),
            "caches": [{"use": use, **asdict(counts)} for use, counts in cache_counts().items()],
            "database": self._serves,
        }
