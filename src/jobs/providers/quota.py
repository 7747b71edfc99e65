"""Whether a budget has room, as it was lately: a job that would fan out into refusals is refused itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ...cache import cached
from .prices import Used, budgets_for, cost_of

if TYPE_CHECKING:
    from ... import Context
    from .account import Account

_OVER_BUDGET = "SELECT workerctl.over_budget(%s::jsonb, %s::text, %s::numeric)"


def _whose(ctx: Context, account: Account, estimate: Used) -> tuple[str, Used, str | None, str | None]:
    return account.name, estimate, ctx.job.user_id, ctx.job.plan


@cached("quota", key=_whose)
def refusal(ctx: Context, account: Account, estimate: Used) -> str | None:
    """Why a call of this estimate would be refused, in words; None where it would not. What counts is `begin_call`."""
    budgets = budgets_for(ctx.settings, account, ctx.job.user_id, ctx.job.plan)
    if not budgets:
        return None
    values = [msgspec.json.encode(budgets).decode(), ctx.job.user_id, cost_of(estimate, account.settings)]
    with ctx.database() as connection:
        row = connection.execute(_OVER_BUDGET, values).fetchone()
    return None if row is None else row[0]
