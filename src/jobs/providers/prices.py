"""Pure: what a call is expected to cost, what it did cost, and the budgets it falls under."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...settings import Settings
    from ...settings.providers import ProviderSettings
    from .account import Account

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Used:
    """What a call took, or is expected to take."""

    images: int = 0
    videos: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


def cost_of(used: Used, provider: ProviderSettings) -> float:
    """In the unit of the provider's prices."""
    tokens = used.input_tokens * provider.price_input + used.output_tokens * provider.price_output
    return used.images * provider.price_image + used.videos * provider.price_video + tokens / MILLION


def budgets_for(settings: Settings, account: Account, user_id: str | None, plan: str | None) -> list[dict[str, Any]]:
    """The budgets that a call falls under, as the database counts them. Who is nobody's user has no own budget."""
    return [
        {
            "name": name,
            "per_user": budget.per == "user",
            "plan": budget.plan,
            "model": budget.model,
            "provider": budget.provider,
            "most_cost": budget.most_cost,
            "most_calls": budget.most_calls,
            "period_seconds": budget.period_seconds,
        }
        for name, budget in settings.budgets.items()
        if budget.plan in (None, plan)
        and budget.model in (None, account.model)
        and budget.provider in (None, account.name)
        and not (budget.per == "user" and user_id is None)
    ]
