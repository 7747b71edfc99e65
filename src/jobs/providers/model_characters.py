"""Asks a chat provider who is in a stretch of a novel; what it said is kept in storage, so that it is paid for once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from ... import Retry, Snooze
from ...storage import ObjectMissing
from ..prompts import template
from ..text.cutting import estimate_tokens
from .account import Account
from .characters import Observations
from .chat import Conversation, Reply, converse
from .claims import SCHEMA, Said, proved
from .schemas import Misfit, fitting

if TYPE_CHECKING:
    from ... import Context

TEMPLATE = "characters"
ANSWERS = "characters/answers"
BATCH_TOKENS = 6000  # of the novel in one call
OUTPUT_TOKENS = 4000
LEFT_SECONDS = 120.0  # of the attempt, in which a call surely fits
ANSWER_LIMIT_BYTES = 4 * 1024 * 1024

Sections = Sequence[tuple[int, str]]  # (index, text)


async def observed(ctx: Context, account: Account, sections: Sections) -> Observations:
    """What the model claims about these sections and proves by quotation. Raises Fail, Retry and Snooze."""
    total = Observations(model=f"{account.name}/{account.model}")
    budget = min(BATCH_TOKENS, account.settings.max_input // 2)
    began_with = ctx.seconds_left()
    for number, batch in enumerate(_batches(sections, budget)):
        ctx.raise_if_cancelled()
        if ctx.seconds_left() < min(LEFT_SECONDS, began_with / 2):  # at least half of the time has gone into answers
            raise Snooze(1.0, f"{number} parts have been read; the others follow")
        claims, unproved = proved(await _said(ctx, account, number, batch), batch)
        total.claims.extend(claims)
        total.unproved += unproved
    return total


async def _said(ctx: Context, account: Account, number: int, batch: Sections) -> Said:
    text = "\n\n".join(part for _, part in batch)
    system, user = template(TEMPLATE, ctx.settings.jobs.prompts).filled({"input": text})
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": user})
    sha256 = hashlib.sha256(msgspec.json.encode([account.model, messages])).hexdigest()
    key = f"{ANSWERS}/{sha256[:2]}/{sha256}.json"
    known = await asyncio.to_thread(_known, ctx, key)
    if known is not None:
        return known

    def kept(reply: Reply) -> dict[str, str]:
        ctx.storage.put(key, reply.text.encode(), content_type="application/json")
        return {}

    conversation = Conversation(messages, OUTPUT_TOKENS, SCHEMA, temperature=0.0)
    await converse(ctx, account, f"part {number}", conversation, kept, is_remembered=False)
    said = await asyncio.to_thread(_known, ctx, key)
    if said is None:
        await asyncio.to_thread(ctx.storage.delete, key)
        raise Retry(f"provider {account.name}: its answer about part {number} is not the JSON that was asked for")
    return said


def _known(ctx: Context, key: str) -> Said | None:
    """An answer that lies in storage; None where there is none that can be used."""
    try:
        content = ctx.storage.get(key, limit_bytes=ANSWER_LIMIT_BYTES)
        return msgspec.convert(fitting(content.decode("utf-8", "replace"), SCHEMA), Said)
    except (ObjectMissing, Misfit, msgspec.ValidationError):
        return None


def _batches(sections: Sections, budget: int) -> Iterator[list[tuple[int, str]]]:
    """Stretches of about the budget; a section that is longer is cut at its paragraphs."""
    from ..text.cutting import cut

    batch: list[tuple[int, str]] = []
    filled = 0
    for index, text in sections:
        for start, end in cut(text, budget):
            tokens = estimate_tokens(text[start:end])
            if batch and filled + tokens > budget:
                yield batch
                batch, filled = [], 0
            batch.append((index, text[start:end]))
            filled += tokens
    if batch:
        yield batch
