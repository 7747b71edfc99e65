"""The supervisor's handles on its living children: which process is who, and the channel to it."""

from __future__ import annotations

import selectors
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from ..contract import Channel
from .composition import Group


class Child(msgspec.Struct):
    """One process of ours. `pid` is None until its template has answered."""

    group: Group
    slot: int
    serial: int
    pid: int | None = None
    incarnation: str | None = None
    channel: Channel | None = None
    template: int | None = None  # serial of the template that was asked to fork it


Listen = Callable[[Child], None]


class Children:
    """Finds a child by serial or pid, and listens to every channel through the loop's selector."""

    def __init__(self, selector: selectors.BaseSelector, listen: Listen) -> None:
        self._selector = selector
        self._listen = listen
        self._by_serial: dict[int, Child] = {}
        self._by_pid: dict[int, Child] = {}
        self._writing: set[int] = set()  # serials whose channel has something left to write

    def __iter__(self) -> Iterator[Child]:
        return iter(list(self._by_serial.values()))

    def add(self, child: Child) -> None:
        self._by_serial[child.serial] = child
        if child.pid is not None:
            self._by_pid[child.pid] = child
        if child.channel is not None:
            self._selector.register(child.channel, selectors.EVENT_READ, lambda events: self._turn(child, events))

    def forked(self, child: Child, pid: int) -> None:
        child.pid = pid
        self._by_pid[pid] = child

    def by_pid(self, pid: int) -> Child | None:
        return self._by_pid.get(pid)

    def by_serial(self, serial: object) -> Child | None:
        return self._by_serial.get(serial) if isinstance(serial, int) else None

    def first_of(self, kind: str) -> Child | None:
        """The oldest living child of this kind that has a channel."""
        return next((child for child in self if child.group.kind == kind and child.channel is not None), None)

    def awaited_from(self, template: int) -> list[Child]:
        """Workers that this template was asked for and has not answered yet."""
        return [child for child in self if child.template == template and child.pid is None]

    def remove(self, child: Child) -> None:
        self.hang_up(child)
        self._by_serial.pop(child.serial, None)
        if child.pid is not None and self._by_pid.get(child.pid) is child:
            del self._by_pid[child.pid]

    def hang_up(self, child: Child) -> None:
        if child.channel is not None:
            self._selector.unregister(child.channel)
            self._writing.discard(child.serial)
            child.channel.close()
            child.channel = None

    def tell(self, child: Child, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        """Send it now, or when its socket takes it."""
        if child.channel is not None:
            child.channel.send(message, fds)
            self.watch_writing(child)

    def watch_writing(self, child: Child) -> None:
        """Listen for room in the socket exactly while something waits for it."""
        if child.channel is None or child.channel.wants_write == (child.serial in self._writing):
            return
        if child.channel.wants_write:
            self._writing.add(child.serial)
        else:
            self._writing.discard(child.serial)
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if child.serial in self._writing else 0)
        self._selector.modify(child.channel, events, lambda events: self._turn(child, events))

    def _turn(self, child: Child, events: int) -> None:
        if events & selectors.EVENT_WRITE and child.channel is not None:
            child.channel.flush()
            self.watch_writing(child)
        if events & selectors.EVENT_READ:
            self._listen(child)
