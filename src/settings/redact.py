"""Hides what nobody may read in a log or an error."""

from __future__ import annotations

HIDDEN = "***"


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
