from __future__ import annotations

from pathlib import Path

import pytest

from workerctl.contract import Unusable
from workerctl.settings import load, redact
from workerctl.settings.database_url import read_database_url

SECRET = "geheim"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:geheim@h:5432/db", "postgresql://u:***@h:5432/db"),
        ("postgresql://u:ge@h/e#i?geheim@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u@h/db", "postgresql://u@h/db"),
        ("postgresql://u:geheim", "postgresql://u:***"),
        ("postgresql://u:geheim/db", "postgresql://u:***/db"),
        ("postgresql://h:5432,h2:5433/db", "postgresql://h:5432,h2:5433/db"),
        ("postgresql://[::1]:5432/db", "postgresql://[::1]:5432/db"),
        ("postgresql://h/db?password=geheim&sslmode=require", "postgresql://h/db?password=***&sslmode=require"),
        ("postgresql:///db?host=/run", "postgresql:///db?host=/run"),
        ("host=h password=geheim user=u", "host=h password=*** user=u"),
        ("host=h password = 'ge \\' geheim' user=u", "host=h password = *** user=u"),
        ("nothing secret", "nothing secret"),
        ("", ""),
    ],
)
def test_passwords_are_hidden_and_the_rest_is_shown(url, shown):
    assert redact(url) == shown


def test_no_secret_shows_in_a_repr(tmp_path):
    environ = {
        "DATABASE_URL": "postgresql://u:geheim@h/db",
        "DIRECT_URL": "postgresql://u:geheim@h/db",
        "R2_ACCOUNT_ID": "a",
        "R2_ACCESS_KEY_ID": "geheim-id",
        "R2_SECRET_ACCESS_KEY": "geheim-key",
        "R2_BUCKET_NAME": "b",
    }
    loaded = load(None, None, environ, tmp_path)
    assert loaded.settings.storage.secret_access_key == "geheim-key"
    assert SECRET not in repr(loaded) + str(loaded.settings) + f"{loaded.settings.storage}"
    assert "postgresql://u:***@h/db" in repr(loaded)


@pytest.mark.parametrize(
    "text",
    [
        "database_url = 'mysql://u:geheim@h/db'",
        "database_url = 'u:geheim@h'",
        "database_url = 'postgresql://u:geheim@h:port/db'",
        "database_url = 'postgresql://u:ge/geheim@h/db:x@y:z'",
        "database_url = 'postgresql://u:geheim@geheim@h/db'",
        "database_url = 'postgresql://u:geheim@geheim:5432/geheim@h/db'",
        "database_url = 'postgresql://u:geheim%ZZ@h/db'",
        "database_url = 'postgresql://u:geheim%@h/db'",
        "database_url = ['geheim']",
        "database_urll = 'postgresql://u:geheim@h/db'",
        "database_url_direct = 'geheim'",
        "[storage]\nsecret_access_key = 'geheim'",
        "[storage]\nurl = 'https://u:geheim@h'",
        "[secrets]\npassword = 'geheim'",
        "api_token = 'geheim'",
        "[jobs]\nmodules = [1, 'postgresql://u:geheim@h/db']",
    ],
)
def test_no_secret_shows_in_an_error(tmp_path, text):
    (tmp_path / "workerctl.toml").write_text(text)
    with pytest.raises(Unusable) as caught:
        load(None, None, {}, tmp_path)
    assert SECRET not in str(caught.value)


def test_prismas_parameters_are_understood(tmp_path):
    environ = {
        "DATABASE_URL": "postgresql://u:geheim@h:6543/db?pgbouncer=true&connection_limit=7&schema=public&sslmode=require&pool_timeout=10",
        "DIRECT_URL": "postgresql://u:geheim@h:5432/db",
    }
    loaded = load(None, None, environ, tmp_path)
    settings = loaded.settings
    assert settings.database_url == "postgresql://u:geheim@h:6543/db?sslmode=require"
    assert settings.database_url_direct == "postgresql://u:geheim@h:5432/db"
    assert (settings.database_pooled, settings.connection_limit) == (True, 7)
    assert loaded.origins["connection_limit"] == "environment DATABASE_URL"
    assert loaded.warnings == [
        "database_url: schema, pool_timeout of the URL means nothing here and was dropped",
        "database_url: pgbouncer=true, so it is used as pooled",
    ]


def test_a_connection_limit_of_our_own_wins_over_the_urls(tmp_path):
    environ = {"DATABASE_URL": "postgres://h/db?connection_limit=7", "WORKERCTL_CONNECTION_LIMIT": "9"}
    assert load(None, None, environ, tmp_path).settings.connection_limit == 9


def test_a_direct_url_through_a_pooler_is_warned_about(tmp_path):
    loaded = load(None, None, {"DIRECT_URL": "postgres://h/db?pgbouncer=true"}, tmp_path)
    assert "LISTEN and migrations need a direct connection" in loaded.warnings[0]


@pytest.mark.parametrize("url", ["postgres://h1:5432,h2:5433/db", "postgresql://[::1]:5432/db", "postgresql:///db"])
def test_urls_that_libpq_takes_are_taken(url):
    assert read_database_url(url).url == url


def test_a_url_of_ours_names_its_source_in_the_refusal(tmp_path: Path):
    with pytest.raises(Unusable, match=r"^environment DATABASE_URL: database_url = \"prisma://u:\*\*\*@h\": not a"):
        load(None, None, {"DATABASE_URL": "prisma://u:geheim@h"}, tmp_path)
