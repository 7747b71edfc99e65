"""The progress line of `start`, and Ctrl-C or SIGTERM during it: whatever was started is stopped again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

from .plain import cut

LEAVING = (signal.SIGINT, signal.SIGTERM)


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


class Waiting:
    """Shows how far the start is on a terminal; leaves nothing behind when it is interrupted or fails."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._shown = ""

    def __enter__(self) -> Waiting:
        signal.signal(signal.SIGTERM, _leave)
        return self

    def begin(self, start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        """Start the supervisor; a Ctrl-C meanwhile counts afterwards, when there is something to stop."""
        arrived: list[int] = []
        before = {each: signal.signal(each, lambda number, _: arrived.append(number)) for each in LEAVING}
        try:
            self._process = start()
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
        for number in arrived:
            signal.raise_signal(number)
        return self._process

    def show(self, status: dict[str, Any]) -> None:
        """Tell what is up so far; only on a terminal, and only what changed."""
        up = [team["name"] for team in status["roles"] if team["ready"] >= team["desired"]]
        ready = sum(team["ready"] for team in status["pools"])
        desired = sum(team["desired"] for team in status["pools"])
        self._say(f"{status['supervisor']['state']}: {ready}/{desired} workers ready, {', '.join(up) or 'nothing'} up")

    def show_reload(self, status: dict[str, Any]) -> None:
        """Tell how many workers are of the new release; only on a terminal."""
        reload = status["supervisor"]["reload"]
        if reload is not None:
            step = f"{reload['moved']}/{reload['of']} workers" if reload["imported"] else "importing"
            self._say(f"reloading: {step}")

    def _say(self, text: str) -> None:
        if text != self._shown and sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{cut(text, os.get_terminal_size(sys.stderr.fileno()).columns - 1)}")
            sys.stderr.flush()
            self._shown = text

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
        if kind is not None and self._process is not None and self._process.poll() is None:
            for number in LEAVING:
                signal.signal(number, signal.SIG_IGN)  # a second one must not cut the clean-up
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGTERM)
            self._process.wait()
