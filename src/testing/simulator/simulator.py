"""The simulator: both protocols, the files, the ledger, on one port of loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import msgspec

from .fal import Fal
from .faults import Chances, Fault, Faults
from .files import Files
from .latency import Latency
from .ledger import Entry, Ledger
from .openai import OpenAI
from .wire import Call, Reply, Server, json_reply

KEY = "simulator"
RUNNERS = 32


class Simulator:
    """A provider to test against: `with Simulator(latency=0.1) as provider: ... provider.openai_url`.

    `latency` is the time of one piece of work (see Latency.parse); `script` the faults of the next calls, in
    order; `chances` the share of the other calls that get one, or the probability of each kind, drawn by `seed`.
    `runners` is how many requests of the fal queue are in progress at once.
    """

    def __init__(
        self, *, port: int = 0, key: str = KEY, latency: str | float = 0.0, script: Iterable[Fault] = (),
        chances: Chances = 0.0, seed: int = 0, runners: int = RUNNERS,
    ) -> None:  # fmt: skip
        self.key = key
        self.faults = Faults(script, chances, seed)
        self.ledger = Ledger()
        self._server = Server(port, self._answer)
        self._files = Files(self.faults, self.ledger)
        takes, stopped = Latency.parse(latency), self._server.stopped
        self._openai = OpenAI(key, self.ledger, self.faults, self._files, takes, seed, stopped)
        self._fal = Fal(key, self.ledger, self.faults, self._files, takes, seed, runners, stopped)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True, name="simulator")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def base_url(self) -> str:
        """Where it listens; it stands for https://queue.fal.run."""
        return self._server.base_url

    @property
    def openai_url(self) -> str:
        """What OpenAI's clients call their base URL."""
        return f"{self.base_url}/v1"

    @property
    def paid(self) -> list[Entry]:
        """The requests that cost money."""
        return [entry for entry in self.ledger.entries if entry.paid]

    def say(self, *texts: str) -> None:
        """Let the next chat calls answer this, one each."""
        self._openai.said.extend(texts)

    def _answer(self, call: Call) -> Reply:
        if call.path.startswith("/v1/"):
            return self._openai.handle(call)
        if call.path.startswith("/files/"):
            return (
                self._files.get(call.path)
                if call.method == "GET"
                else json_reply({"detail": "Method Not Allowed"}, 405)
            )
        own = {("GET", "/ledger"): self._show, ("POST", "/faults"): self._script, ("POST", "/say"): self._told}
        handle = own.get((call.method, call.path))
        return handle(call) if handle is not None else self._fal.handle(call)

    def _show(self, _call: Call) -> Reply:
        return json_reply(self.ledger.summary())

    def _script(self, call: Call) -> Reply:
        return self._taken(call, list[Fault], lambda faults: self.faults.add(*faults))

    def _told(self, call: Call) -> Reply:
        return self._taken(call, list[str], lambda texts: self.say(*texts))

    def _taken(self, call: Call, kind: Any, take: Any) -> Reply:
        try:
            take(msgspec.json.decode(call.body, type=kind))
        except msgspec.MsgspecError as error:
            return json_reply({"detail": str(error)}, 422)
        return json_reply({"taken": True})
