"""Hides what nobody may read in a log or an error."""

from __future__ import annotations

from typing import Any

HIDDEN = "***"
_NAMES = r"(?:SECRET|PASSW|TOKEN|CREDENTIAL|API[_-]?KEY|ACCESS[_-]?KEY|PRIVATE[_-]?KEY)"


def is_secret_name(name: str) -> bool:
    """Whether what bears this name, a variable or a field, is nobody's to read."""
    import re

    return re.search(_NAMES, name, re.IGNORECASE) is not None


def without_secrets(value: Any) -> Any:
    """The value without passwords in its texts and tables: of URLs, of options of a command, of fields named so."""
    if isinstance(value, dict):
        return {
            name: HIDDEN if each and isinstance(each, str) and is_secret_name(name) else without_secrets(each)
            for name, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secrets(each) for each in value]
    return redact(_without_options(value)) if isinstance(value, str) else value


def redact(url: str) -> str:
    """The URL or libpq keyword string without its passwords; anything else as it is.

    What stands between the scheme and the last `@` counts as user and password, so that a password with an
    unescaped `/`, `#` or `?` is hidden too; rather too much than too little.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return _without_parameters(url)
    userinfo, at, place = rest.rpartition("@")
    if not at:
        return f"{scheme}://{_without_password_as_port(_without_parameters(place))}"
    user, colon, _ = userinfo.partition(":")
    return f"{scheme}://{user}{colon and ':' + HIDDEN}{at}{_without_parameters(place)}"


def _without_password_as_port(place: str) -> str:
    import re

    # somebody forgot the host: user:password
    return re.sub(r"^([^/?#\[]*?):(?!\d*(?:[/?#,]|$))[^/?#]*", rf"\1:{HIDDEN}", place)


def _without_parameters(text: str) -> str:
    import re

    # libpq's keyword form and URL parameters alike: password=..., sslpassword='...'
    return re.sub(r"(?i)(password\s*=\s*)('(?:\\.|[^'\\])*'|[^\s&]*)", rf"\1{HIDDEN}", text)


def _without_options(text: str) -> str:
    import re

    # --api-key=..., --token ..., STRIPE_SECRET=...
    named = rf"--[\w-]*{_NAMES}[\w-]*(?:=|\s+)|\b\w*{_NAMES}\w*="
    return re.sub(rf"({named})\S+", rf"\1{HIDDEN}", text, flags=re.IGNORECASE)
