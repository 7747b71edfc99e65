"""Rules of [providers] and [budgets]: who serves a kind, where it is, and what a budget is about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from ..contract import Unusable
from .build import Raw
from .providers import BudgetSettings, ProviderSettings
from .refusal import dotted, refused
from .types import Settings

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_providers(settings: Settings, raw: Raw) -> None:
    """Raise Unusable for the first rule that is broken."""
    served: dict[str, str] = {}
    for name, provider in settings.providers.items():
        if not re.fullmatch(r"\w[\w-]{0,99}", name):
            raise Unusable(f"{raw.file}: [{dotted(('providers', name))}]: expected a name of letters, digits, _ and -")
        for key, value, problem in _wrong_provider(provider, served):
            path = ("providers", name, key)
            raise refused(raw.source(path), path, value, problem)
        served |= dict.fromkeys(provider.kinds, name)
    for name, budget in settings.budgets.items():
        for key, value, problem in _wrong_budget(budget, settings):
            path = ("budgets", name, key)
            raise refused(raw.source(path), path, value, problem)


def _wrong_provider(provider: ProviderSettings, served: dict[str, str]) -> Iterator[tuple[str, object, str]]:
    if not provider.kinds:
        yield "kinds", [], 'expected at least one kind, such as ["image"]'
    for kind in provider.kinds:
        if kind in served:
            yield "kinds", list(provider.kinds), f"{kind} is served by [providers.{served[kind]}] already"
    if provider.type != "local" and not provider.model:
        yield "model", provider.model, "must be given: the name of one of its models"
    if provider.base_url is not None and not _is_web(provider.base_url):
        yield "base_url", provider.base_url, "expected an http:// or https:// URL without user and query"
    if provider.api_key_variable is not None and not VARIABLE.fullmatch(provider.api_key_variable):
        yield "api_key_variable", provider.api_key_variable, "expected the name of a variable, never the key itself"


def _wrong_budget(budget: BudgetSettings, settings: Settings) -> Iterator[tuple[str, object, str]]:
    if budget.most_cost is None and budget.most_calls is None:
        yield "most_cost", None, "give most_cost, most_calls or both"
    if budget.provider is not None and budget.provider not in settings.providers:
        known = ", ".join(settings.providers) or "none"
        yield "provider", budget.provider, f"there is no such provider; there is {known}"


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc and not parts.query
        )
    except ValueError:
        return False
