"""Settings of a storage, as workerctl.settings gives them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Named:
    """Settings of a storage, as workerctl.settings gives them."""

    url: str = "file:"
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    session_token: str | None = None
    region: str | None = None
    public_url: str | None = None
