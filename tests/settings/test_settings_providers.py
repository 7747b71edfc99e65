"""[providers] and [budgets]: what they may say, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from workerctl.contract import Unusable
from workerctl.settings import load

PROVIDER = '[providers.p]\ntype = "openai"\nkinds = ["image"]\nmodel = "m"\n'


def loaded(folder: Path, text: str, **environ: str):
    (folder / "workerctl.toml").write_text(text)
    return load(None, None, environ, folder)


def test_providers_and_budgets_are_read_with_their_units(tmp_path: Path):
    text = (
        PROVIDER + 'read_timeout = "2m"\nprice_image = 0.04\n[budgets.b]\nperiod = "1d"\nmost_cost = 1\nper = "user"\n'
    )
    found = loaded(tmp_path, text, WORKERCTL_PROVIDERS__P__BASE_URL="https://example.com/v1")
    provider = found.settings.providers["p"]
    assert (provider.read_timeout_seconds, provider.price_image, provider.base_url) == (
        120,
        0.04,
        "https://example.com/v1",
    )
    budget = found.settings.budgets["b"]
    assert (budget.period_seconds, budget.most_cost, budget.per, budget.most_calls) == (86400, 1, "user", None)
    assert found.origins["providers.p.base_url"] == "environment WORKERCTL_PROVIDERS__P__BASE_URL"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[providers.p]\ntype = "openai"\nmodel = "m"', "providers.p.kinds is missing"),
        (
            '[providers.p]\ntype = "open"\nkinds = ["a"]',
            'providers.p.type = "open": expected "openai", "fal" or "local"',
        ),
        ('[providers.p]\ntype = "fal"\nkinds = ["a"]', "providers.p.model = null: must be given"),
        (PROVIDER.replace('["image"]', "[]"), "at least one kind"),
        (PROVIDER + PROVIDER.replace("providers.p", "providers.q"), "image is served by [providers.p] already"),
        (PROVIDER + 'base_url = "ftp://x"', "expected an http:// or https:// URL"),
        (PROVIDER + 'base_url = "https://u:geheim@x/"', "without user and query"),
        (PROVIDER + 'sizes = ["big"]', "providers.p.sizes"),
        (PROVIDER + "price_image = -1", "expected a number from 0"),
        (PROVIDER + 'modle = "x"', "did you mean providers.p.model?"),
        ('[providers."a b"]\ntype = "local"\nkinds = ["a"]', "expected a name of letters"),
        ('[budgets.b]\nperiod = "1d"', "give most_cost, most_calls or both"),
        ("[budgets.b]\nmost_cost = 1", "budgets.b.period is missing"),
        ('[budgets.b]\nperiod = "1d"\nmost_cost = 1\nprovider = "x"', "no such provider; there is none"),
    ],
)
def test_what_cannot_work_is_refused_with_its_key(tmp_path: Path, text: str, said: str):
    with pytest.raises(Unusable) as refused:
        loaded(tmp_path, text)
    assert said in str(refused.value)
    assert "geheim" not in str(refused.value)


def test_a_key_where_its_variable_belongs_is_never_shown(tmp_path: Path):
    with pytest.raises(Unusable) as refused:
        loaded(tmp_path, PROVIDER + 'api_key_variable = "sk-geheim-123"')
    assert "the name of a variable, never the key itself" in str(refused.value)
    assert "geheim" not in str(refused.value)
