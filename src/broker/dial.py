"""Connects beside its caller, who has heartbeats to send: a name can take longer than they may be missing."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import psycopg

DIAL_SECONDS = 3.0  # less than a worker may be silent, with a beat and a statement, of 5 s each, before and after
_NO_NAME = re.compile(r"/[^,]*|[\d.]+|[\da-f.]*:[\da-f:.]*")  # one socket folder or one address


class Dial(threading.Thread):
    """One that takes longer goes on, for whoever asks next: a resolver that gets no answer takes 10 to 40 s, and each
    address of a name has 3 s of its own.
    """

    _under_way: ClassVar[dict[str, Dial]] = {}

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        super().__init__(name="connect", daemon=True)
        self._connect = connect
        self._connection: psycopg.Connection[Any] | None = None
        self._error: BaseException | None = None

    @classmethod
    def within(
        cls, seconds: float, key: str, connect: Callable[[], psycopg.Connection[Any]]
    ) -> psycopg.Connection[Any]:
        """Raises psycopg.Error. `key` says what is connected to, and for whom."""
        dial = cls._under_way.pop(key, None)
        if dial is None or dial._error is not None:
            dial = cls(connect)
            dial.start()
        dial.join(seconds)
        if dial._error is not None:
            raise dial._error
        if dial._connection is None:
            cls._under_way[key] = dial
            raise psycopg.errors.ConnectionTimeout(f"no connection within {seconds:g} s")
        return dial._connection

    def run(self) -> None:
        """Connect, and keep what came of it."""
        try:
            self._connection = self._connect()
        except BaseException as error:
            self._error = error


def takes_long(host: str | None) -> bool:
    """Whether a name has to be looked up or several addresses tried; None is what PGHOST says."""
    return host is None or _NO_NAME.fullmatch(host) is None
