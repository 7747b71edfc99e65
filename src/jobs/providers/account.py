"""Which provider serves a kind of job, and its key."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ... import Fail

if TYPE_CHECKING:
    from ...settings import Settings
    from ...settings.providers import ProviderSettings

KEY_VARIABLES = {"openai": "OPENAI_API_KEY", "fal": "FAL_KEY"}
BASE_URLS = {"openai": "https://api.openai.com/v1", "fal": "https://queue.fal.run"}


@dataclass(frozen=True, slots=True)
class Account:
    """One account at a remote provider, as configured."""

    name: str
    settings: ProviderSettings

    @property
    def base_url(self) -> str:
        return (self.settings.base_url or BASE_URLS[self.settings.type]).rstrip("/")

    @property
    def model(self) -> str:
        return self.settings.model or ""

    @property
    def key(self) -> str:
        """Its API key. Raises Fail naming the environment variable where there is none."""
        variable = key_variable(self.settings)
        key = os.environ.get(variable, "").strip()
        if not key:
            raise Fail(f"provider {self.name}: the environment variable {variable} is not set; set it and restart")
        return key

    def require_key(self) -> None:
        """Raise Fail where there is no key, before anything is begun."""
        assert self.key


def key_variable(provider: ProviderSettings) -> str:
    """The environment variable that holds its key."""
    return provider.api_key_variable or KEY_VARIABLES[provider.type]


def account_for(kind: str, settings: Settings) -> Account | None:
    """The account that serves a kind, by its whole name before what stands before its first dot; None: local."""
    for served in (kind, kind.partition(".")[0]):
        for name, provider in settings.providers.items():
            if served in provider.kinds:
                return None if provider.type == "local" else Account(name, provider)
    return None


def account_that(kind: str, settings: Settings, *types: str) -> Account:
    """The account that serves a kind, of one of these types. Raises Fail saying what to configure."""
    account = account_for(kind, settings)
    head = kind.partition(".")[0]
    wanted = " or ".join(f'"{one}"' for one in types)
    if account is None:
        raise Fail(f'no provider serves {kind}: add one with kinds = ["{head}"] and type {wanted} to [providers]')
    if account.settings.type not in types:
        raise Fail(f"provider {account.name} is of type {account.settings.type!r}, and {kind} needs {wanted}")
    return account
