"""The agent's loop: wakes workers, gives back what the dead held, keeps this node's lease, is primary where it can."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import random
import select
import socket
import sys
import time
import uuid
from typing import Any

import psycopg

from ..broker.connection import attend, connect, is_away
from ..broker.dial import DIAL_SECONDS
from ..broker.fleet import (
    bring_due,
    database_now,
    next_start_seconds,
    queues_with_due_jobs,
    release_others,
    release_worker,
    renew_this_node,
)
from ..broker.surroundings import Surroundings
from ..contract import Channel, ChannelClosed, Unreachable, next_beat
from ..settings import PoolSettings
from .listener import Listener
from .primary import Primary
from .wakes import WakePipes

LOOK_AGAIN_SECONDS = 0.025  # after a ring: jobs that became visible since, whose own ring was swallowed
LOOK_AGAIN_GROWTH = 4  # for those of a transaction that took longer
IDLE_LOOK_SECONDS = 1.0  # jobs that fell due, rings that nobody heard
INTRODUCTION_SECONDS = 0.05  # so long the pools are waited for at first: there is much to do before they would be heard
RENEW_SECONDS = 2.0  # the node's and the primary's lease
SELF_RING_SECONDS = 30.0  # how long a deaf listener can go unnoticed
DEAF_SECONDS = 5.0
RECONNECT_SECONDS = 0.5
REFUSED_LIMIT_SECONDS = 5.0  # between connections where the database answers and refuses: a broken schema, say
DEATHS = frozenset({"crash", "kernel-oom", "memory-hard", "hung"})  # causes that speak against the jobs in hand


class Agent:
    """One per machine. `turn` does what is due; every statement is bounded by the connection's timeouts."""

    def __init__(self, around: Surroundings, channel: Channel) -> None:
        self._around = around
        self._channel = channel
        self._wakes = WakePipes()
        self._queries: psycopg.Connection[Any] | None = None
        self._listener: Listener | None = None
        self._poll = select.poll()
        self._ear = -1  # the listener's descriptor
        self._primary = Primary(around.settings, f"{around.node_id}/{uuid.uuid4().hex[:8]}", around.node_id)
        self._lost: dict[str, tuple[str, str | None]] = {}  # incarnation -> cause, words, until the database knows
        self._known: list[str] | None = None  # whom the supervisor lists, until the others are released
        self._since: dt.datetime | None = None
        self._ready = False
        self._failures = 0  # turns in a row that failed
        self._said: set[str] = set()  # why, each once until it goes well again
        self._rung = False  # the listener had something to hear, and the workers have been woken
        self._reconnect_at = self._look_at = self._renew_at = self._self_ring_at = self._beat_at = 0.0
        self._deaf_at = float("inf")
        self._pause = IDLE_LOOK_SECONDS  # from the next look to the one after it

    def serve(self, signals: socket.socket) -> None:
        """Until the supervisor says stop or is gone."""
        self._poll.register(self._channel, select.POLLIN)
        self._poll.register(signals, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in self._poll.poll(1000 * self._pause_seconds())]
            self._rung = self._ear in ready
            if self._rung:
                self._wakes.wake()  # before it is asked what it heard: a job waits for this
                os.sched_yield()  # and perhaps for this processor
            if signals.fileno() in ready:
                break
            try:
                if self._channel.fileno() in ready:
                    self._hear_the_supervisor()
            except ChannelClosed:
                break
            self.turn(time.monotonic())
            self._beat(time.monotonic())
        self._step_down()

    def turn(self, now: float) -> None:
        """Connect where there is no connection; then everything that is due."""
        if self._primary.lapse(now):
            self._tell_primary()
        try:
            if self._queries is None and not self._connect(now):
                return
            self._hear_the_queue(now)
            renew = now >= self._renew_at
            if renew:
                self._renew(now)  # first: it is refused where another has this node's id, and so the workers of it
            self._release()
            if renew:
                self._renew_primary()
            if now >= self._look_at:
                self._look(now)
                self._failures = 0
                self._said.clear()
        except (psycopg.Error, Unreachable) as error:
            self._disconnect(now, error)

    def _beat(self, now: float) -> None:
        """Without this the supervisor takes us for hung, whether the database answers or not."""
        if self._ready and now >= self._beat_at:
            self._beat_at = next_beat(now)
            self._channel.send({"type": "heartbeat"})

    def _pause_seconds(self) -> float:
        """Never longer than a beat: the queue is looked into more often, and a lost database is tried more often."""
        now = time.monotonic()
        if self._queries is None:
            return max(0.0, self._reconnect_at - now)
        return max(0.0, min(self._look_at, self._renew_at, self._self_ring_at, self._deaf_at) - now)

    def _hear_the_supervisor(self) -> None:
        for message in self._channel.receive():
            match message["type"]:
                case "pool":
                    self._wakes.take(message["name"], message["fds"][0])
                case "alive":
                    self._known = [*message["incarnations"], *message.get("lost", ())]
                    self._renew_at = self._look_at = 0.0
                case "lost":
                    self._lost[message["incarnation"]] = message["cause"], message.get("words")

    def _connect(self, now: float) -> bool:
        if now < self._reconnect_at:
            return False
        database = self._around.database
        self._queries = connect(database.url, application="agent", pooled=database.pooled, within_seconds=DIAL_SECONDS)
        if not database.pooled or database.url_direct != database.url:
            self._listener = Listener(database.url_direct, self._wakes.wake)
            attend(self._queries, self._listener)  # a job is not to wait for the primary's duties
            self._ear = self._listener.fileno()
            self._poll.register(self._ear, select.POLLIN)
        self._since = self._since or database_now(self._queries)
        self._renew_at = self._look_at = now if self._ready else now + INTRODUCTION_SECONDS
        self._self_ring_at = now + SELF_RING_SECONDS
        if not self._ready:
            self._ready = True
            self._channel.send({"type": "ready"})
        return True

    def _disconnect(self, now: float, error: Exception) -> None:
        refused = isinstance(error, psycopg.Error) and not is_away(error)
        words = f"{'the queue cannot be used' if refused else 'database away'}: {str(error).strip().splitlines()[0]}"
        if words not in self._said:
            sys.stderr.write(f"{words}\n")
            sys.stderr.flush()
        self._said.add(words)
        self._failures += 1
        longest = REFUSED_LIMIT_SECONDS if refused else RECONNECT_SECONDS
        pause = min(RECONNECT_SECONDS * 2 ** min(self._failures, 4), longest)
        if self._ear >= 0:
            self._poll.unregister(self._ear)
            self._ear = -1
        for connection in (self._queries, self._listener):
            if connection is not None:
                with contextlib.suppress(psycopg.Error):
                    connection.close()
        self._queries = self._listener = None
        self._primary.doubt()
        self._deaf_at = float("inf")
        self._reconnect_at = now + pause * (0.5 + random.random())

    def _hear_the_queue(self, now: float) -> None:
        if self._listener is None:
            return
        if self._listener.heard():
            if not self._rung:
                self._wakes.wake()
            self._pause = LOOK_AGAIN_SECONDS
            self._look_at = min(self._look_at, now + self._pause)
            self._deaf_at = float("inf")
            self._self_ring_at = now + SELF_RING_SECONDS
        elif now >= self._deaf_at:
            raise Unreachable("the listening connection does not hear its own ring; connecting again")
        elif now >= self._self_ring_at:
            self._listener.ring()
            self._self_ring_at = now + SELF_RING_SECONDS
            self._deaf_at = now + DEAF_SECONDS

    def _release(self) -> None:
        """Give back what dead workers held; the supervisor repeats itself until it hears `released`."""
        assert self._queries is not None
        if self._known is not None:
            assert self._since is not None
            jobs = release_others(self._queries, self._around.node_id, self._known, self._since)
            self._known = None
            if jobs:
                sys.stdout.write(f"gave back {jobs} jobs of workers that were gone before this agent began\n")
        for incarnation, (cause, words) in list(self._lost.items()):
            jobs = release_worker(self._queries, incarnation, died=cause in DEATHS, words=words)
            del self._lost[incarnation]
            self._channel.send({"type": "released", "incarnation": incarnation, "jobs": jobs})

    def _renew(self, now: float) -> None:
        assert self._queries is not None
        self._renew_at = now + RENEW_SECONDS
        began = time.monotonic()
        renew_this_node(self._queries, self._around)
        self._primary.note_leases(self._queries, RENEW_SECONDS, time.monotonic() - began, now)

    def _renew_primary(self) -> None:
        assert self._queries is not None
        if self._primary.renew(self._queries):
            self._tell_primary()

    def _tell_primary(self) -> None:
        holds, host = self._primary.term is not None, self._around.host
        self._channel.send({"type": "primary", "holds_lease": holds, "holder": host if holds else None})

    def _look(self, now: float) -> None:
        """Wake the pools whose queues have due work; scheduled tasks fall due on the same beat."""
        assert self._queries is not None
        self._pause = longer_pause(self._pause)
        self._look_at = now + self._pause
        more = self._primary.work(self._queries, now)
        brought = bring_due(self._queries)
        ripe_in = queues_with_due_jobs(self._queries)
        due = [queue for queue, seconds in ripe_in.items() if seconds <= 0]
        if due:
            self._wakes.wake(pools_of(due, self._around.settings.pools))
        gathering = min((seconds for seconds in ripe_in.values() if seconds > 0), default=IDLE_LOOK_SECONDS)
        starts_in = 0.0 if brought or more else next_start_seconds(self._queries)  # 0: there may be more
        self._look_at = min(self._look_at, now + max(LOOK_AGAIN_SECONDS, min(gathering, starts_in)))

    def _step_down(self) -> None:
        """Leave the lease to another machine at once."""
        if self._queries is None:
            return
        with contextlib.suppress(psycopg.Error):
            self._primary.step_down(self._queries)
        with contextlib.suppress(psycopg.Error):
            self._queries.close()


def longer_pause(seconds: float) -> float:
    """Between looks when nobody rings: a job whose ring was swallowed waits four times as long as its commit took.

    Half of that would double the looks of a queue that gets a job now and then; IDLE_LOOK_SECONDS is the most.
    """
    return min(LOOK_AGAIN_GROWTH * seconds, IDLE_LOOK_SECONDS)


def pools_of(queues: list[str], pools: dict[str, PoolSettings]) -> set[str]:
    """The pools that serve any of these queues: those that name it, else those that name none."""
    named = {queue: name for name, pool in pools.items() for queue in pool.queues}
    general = {name for name, pool in pools.items() if not pool.queues}
    return set().union(*({named[queue]} if queue in named else general for queue in queues))
