"""What the queue refuses, or takes too long over, is said piece by piece, so that one of them spoils no other."""

from __future__ import annotations

import time

from ..broker.exchange import Reply, Request
from .hand import Claim, Hand
from .journal import write_to_stderr
from .link import Link, Rejected

APART_SECONDS = 30.0  # before what could not be written at all is tried again
TURN_SECONDS = 5.0  # of one turn; then the supervisor has to hear of this worker, however far away the queue is
SLOW_TRIES = 3  # a settlement that even alone was not written in time so often never will be


class Apart:
    """Finds the piece of a request that cannot be written. No call waits for more than one statement that is slow."""

    def __init__(self, hand: Hand, link: Link) -> None:
        self._hand = hand
        self._link = link
        self.due_at = float("inf")  # monotonic; what was set aside is tried again then
        self.no_claims: str | None = None  # why the queue hands out nothing, where that is all that it refuses

    def say(self, request: Request, now: float, why: Rejected | None) -> Reply | None:
        """All of a request but its claim. A settlement that is refused ends its job dead, anything else is dropped.

        `why` it is said apart; None where it only took too long. None where the link was lost on the way. What is not
        said in time is said with the next request, or apart again.
        """
        try:
            reply = self._link.exchange(Request(renew_seconds=request.renew_seconds), now)
        except Rejected as error:
            self._link.lost(now, error)  # it is none of the pieces
            return None
        refused = False
        for claim, piece in self._hand.pieces(request):
            if reply is None or reply.gone:
                return reply
            reply, fine = self._say_piece(claim, piece, now)
            refused = refused or not fine
            if time.monotonic() > now + TURN_SECONDS:
                return reply
        if why is not None and not refused and self.no_claims is None:
            self.no_claims = str(why)
            write_to_stderr(f"the queue hands out no work: {why}\n")
        return reply

    def try_aside(self, now: float) -> Reply | None:
        """Say what was set aside, each alone. None where the link was lost on the way."""
        reply: Reply | None = Reply()
        for claim in list(self._hand.aside):
            reply, _ = self._say_piece(claim, self._hand.alone(claim), now)
            if reply is None or reply.gone:
                break
        self.due_at = time.monotonic() + APART_SECONDS if self._hand.aside else float("inf")
        return reply

    def _say_piece(self, claim: Claim | None, piece: Request, now: float) -> tuple[Reply | None, bool]:
        """The answer, and whether the queue took it."""
        try:
            reply = self._link.exchange(piece, now)
        except Rejected as error:
            return self._refused(claim, piece, str(error), now), False
        if reply is None:
            if claim is not None and self._link.too_slow:
                self._was_slow(claim, now)
        elif not reply.gone:
            self._hand.said(piece)
        return reply, True

    def _refused(self, claim: Claim | None, piece: Request, reason: str, now: float) -> Reply | None:
        if claim is None:
            write_to_stderr(f"progress, a log entry or statistics are dropped: {reason}\n")
            self._hand.said(piece)
            return Reply()
        if self._hand.refuse(claim, reason):
            write_to_stderr(f"job {claim[0]} cannot be settled: {reason}\n")
            self._set_aside(claim, now)
            return self._say_piece(claim, self._hand.alone(claim), now)[0]
        if self._hand.aside[claim] == 0:
            write_to_stderr(
                f"job {claim[0]} can be neither settled nor ended: {reason}; it is tried again now and then\n"
            )
        self._hand.aside[claim] += 1
        return Reply()

    def _was_slow(self, claim: Claim, now: float) -> None:
        self._set_aside(claim, now)
        if self._link.waited_for_others:
            return  # who may go on at any time
        self._hand.aside[claim] += 1
        if self._hand.aside[claim] == SLOW_TRIES:
            self._hand.refuse(claim, f"it was not written in time, {SLOW_TRIES} times alone")

    def _set_aside(self, claim: Claim, now: float) -> None:
        self._hand.aside.setdefault(claim, 0)
        self.due_at = min(self.due_at, now + APART_SECONDS)
