"""Pure: which call goes wrong, and how; by a script for the next calls, else drawn by seed."""

from __future__ import annotations

import enum
import random
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

Operation = Literal["images", "chat", "submit", "status", "result", "cancel", "file", "webhook"]


class FaultKind(enum.StrEnum):
    """Everything that can go wrong with one call."""

    RATE_LIMITED = "rate_limited"  # 429 with Retry-After
    RATE_LIMITED_BARE = "rate_limited_bare"  # 429 that does not say for how long
    SERVER_ERROR = "server_error"  # 500
    REFUSED = "refused"  # the content policy says no
    HANG = "hang"  # the work is done, its answer never comes
    RESET = "reset"  # the work is done, the connection is reset before the answer
    HALF_BODY = "half_body"  # the connection closes in the middle of the answer
    WRONG_TYPE = "wrong_type"  # 200 with a proxy's HTML page
    NOT_AN_IMAGE = "not_an_image"  # bytes that no decoder takes
    TEN_TIMES = "ten_times"  # a picture of ten times as many pixels as asked for
    BAD_JSON = "bad_json"  # chat: an answer that does not fit its json_schema
    DUPLICATE = "duplicate"  # the webhook is delivered twice
    OUT_OF_ORDER = "out_of_order"  # a status older than one that was told before


K = FaultKind
_ANY = frozenset({K.RATE_LIMITED, K.RATE_LIMITED_BARE, K.SERVER_ERROR, K.HANG, K.RESET, K.HALF_BODY, K.WRONG_TYPE})
_PICTURE = frozenset({K.NOT_AN_IMAGE, K.TEN_TIMES})
POSSIBLE: Mapping[Operation, frozenset[FaultKind]] = {
    "images": _ANY | _PICTURE | {K.REFUSED},
    "chat": _ANY | {K.REFUSED, K.BAD_JSON},
    "submit": _ANY | {K.REFUSED},
    "status": _ANY | {K.OUT_OF_ORDER},
    "result": _ANY,
    "cancel": _ANY,
    "file": _ANY | _PICTURE,
    "webhook": frozenset({K.DUPLICATE}),
}
UNPAID = frozenset({K.RATE_LIMITED, K.RATE_LIMITED_BARE, K.SERVER_ERROR, K.REFUSED})  # no work was done


Chances = float | Mapping[FaultKind, float]


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One call that goes wrong. Without `operation` or `prompt` (a part of it) it takes the next call that can."""

    kind: FaultKind
    operation: Operation | None = None
    prompt: str = ""
    retry_after_seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.operation is not None and self.kind not in POSSIBLE[self.operation]:
            raise ValueError(f"{self.operation} calls cannot have the fault {self.kind.value}")


class Faults:
    """Decides for each call. What is drawn depends on seed and content, not on the order in which calls arrive.

    `chances` is the share of calls that get a fault, each of those that its operation can have being as likely; or
    the probability of each kind, where one that an operation cannot have is not drawn for it.
    """

    def __init__(self, script: Iterable[Fault] = (), chances: Chances = 0.0, seed: int = 0) -> None:
        self._script = list(script)
        self._chances = chances
        each = list(chances.values()) if isinstance(chances, Mapping) else [chances]
        if sum(each) > 1 or any(chance < 0 for chance in each):
            raise ValueError("the chances of all faults together must lie between 0 and 1")
        self._seed = seed
        self._asked: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def add(self, *faults: Fault) -> None:
        """Let the next calls that fit have these faults, one each, in this order."""
        with self._lock:
            self._script.extend(faults)

    def draw(self, operation: Operation, content: str, prompt: str = "") -> Fault | None:
        """The fault of this call. `content` tells calls apart: the same one asked again is drawn anew."""
        with self._lock:
            for fault in self._script:
                if (
                    fault.operation in (None, operation)
                    and fault.kind in POSSIBLE[operation]
                    and fault.prompt in prompt
                ):
                    self._script.remove(fault)
                    return fault
            self._asked[operation, content] += 1
            nth = self._asked[operation, content]
        chance = random.Random(f"{self._seed}\0{operation}\0{content}\0{nth}").random()
        chances = self._chances
        if not isinstance(chances, Mapping):
            kinds = [kind for kind in FaultKind if kind in POSSIBLE[operation]]
            chances = dict.fromkeys(kinds, chances / len(kinds))
        for kind, share in chances.items():
            chance -= share
            if chance < 0:
                return Fault(kind) if kind in POSSIBLE[operation] else None
        return None
