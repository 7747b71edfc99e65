"""Objects by key behind one small interface: local files or S3/R2."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ..contract import Unusable
from .interface import Entry, InvalidKey, ObjectMissing, ObjectTooLarge, Storage, Stored, checked_key

__all__ = [
    "Entry",
    "InvalidKey",
    "ObjectMissing",
    "ObjectTooLarge",
    "Storage",
    "StorageSettings",
    "Stored",
    "checked_key",
    "open_storage",
]

LOCAL_FOLDER = "storage"  # below the home


class StorageSettings(Protocol):
    """What the settings say about storage."""

    @property
    def url(self) -> str: ...
    @property
    def endpoint_url(self) -> str | None: ...
    @property
    def access_key_id(self) -> str | None: ...
    @property
    def secret_access_key(self) -> str | None: ...
    @property
    def session_token(self) -> str | None: ...
    @property
    def region(self) -> str | None: ...
    @property
    def public_url(self) -> str | None: ...


def open_storage(settings: StorageSettings, home: Path) -> Storage:
    """The storage that the settings name: `file:` (below `home`), `file:///folder` or `s3://bucket/prefix`.

    Opens no connection and makes no folder; both happen on first use. Raises Unusable for any other address.
    """
    from urllib.parse import unquote, urlsplit  # here and below: what only names errors and protocols must import fast

    address = urlsplit(settings.url)
    if address.scheme == "file" and not address.netloc and (not address.path or address.path.startswith("/")):
        from .local import LocalStorage

        root = Path(unquote(address.path)) if address.path else home / LOCAL_FOLDER
        return LocalStorage(root, public_url=settings.public_url)
    if address.scheme == "s3" and address.netloc:
        from .s3 import S3Storage

        return S3Storage(
            bucket=address.netloc,
            prefix=address.path.strip("/"),
            endpoint_url=settings.endpoint_url,
            access_key_id=settings.access_key_id,
            secret_access_key=settings.secret_access_key,
            session_token=settings.session_token,
            region=settings.region,
            public_url=settings.public_url,
        )
    raise Unusable(f'storage.url = {settings.url!r} is none of "file:", "file:///folder" and "s3://bucket/prefix"')
