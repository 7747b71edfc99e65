from __future__ import annotations

import pytest

from workerctl.contract import Unusable
from workerctl.settings import load


def test_limits_and_rates_are_tables_of_names(tmp_path):
    (tmp_path / "workerctl.toml").write_text(
        '[limits]\nimage = 15\n"image.upscale" = 2\n"user:{user_id}" = 4\n[rates]\n"model:{payload.model}" = "60/1m"\n'
    )
    settings = load(None, None, {}, tmp_path).settings
    assert settings.limits == {"image": 15, "image.upscale": 2, "user:{user_id}": 4}
    assert settings.rates == {"model:{payload.model}": "60/1m"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[limits]\nvideo = 1\nimage = -1", "limits.image = -1: expected a table of kind or key = whole number from 0"),
        ("[limits]\nimage = 'many'", 'limits.image = "many": expected a table of kind or key = whole number from 0'),
        (
            "[rates]\nimage = 60\nvideo = '1/1m'",
            'rates.image = 60: expected a table of kind or key = "number/duration"',
        ),
        ("[admission]\n'plan:free' = true", 'admission."plan:free" = true: expected a table'),
        ("limits = 5", "limits = 5: expected a table"),
        ("[jobs]\nmodules = {}", "jobs.modules = {...}: expected "),
        ("[limits]\n'user:{user}' = 1", "{user_id}, {plan}, {model} or {payload.field}"),
        ("[limits]\n'user:{user_id' = 1", "{user_id}, {plan}, {model} or {payload.field}"),
        ("[rates]\nimage = '60'", "number of starts per duration"),
        ("[rates]\nimage = '0/1m'", "number of starts per duration"),
        ("[rates]\nimage = '5/0s'", "longer than 0"),
        ("[limits]\nimage = 99999999999", "limits.image = 99999999999: at most 2147483647"),
        ("[rates]\nimage = '99999999999/1m'", "at most 2147483647"),
        ("[admission]\n'plan:free' = 99999999999", 'admission."plan:free" = 99999999999: at most 2147483647'),
        ("[admission]\n'user:{user_id}' = 9", 'admission."user:{user_id}" = 9: admission is by kind or "plan:NAME"'),
        ("[admission]\n'' = 1", "a name has 1 to 200 characters"),
        ('[limits]\n"im\\u0000age" = 1', "none of them NUL"),
        (f"[schedule.{'s' * 201}]\ncron = '0 3 * * *'\nkind = 'k'", "the name of a task has 1 to 200 characters"),
        (
            "[schedule.s]\ncron = '0 3 * * *'\nkind = \"k\\u0000\"",
            'schedule.s.kind = "k\\u0000": holds the character NUL',
        ),
    ],
)
def test_a_limit_or_rate_that_cannot_be_is_refused(tmp_path, text, words):
    (tmp_path / "workerctl.toml").write_text(text)
    with pytest.raises(Unusable) as caught:
        load(None, None, {}, tmp_path)
    assert words in str(caught.value)
