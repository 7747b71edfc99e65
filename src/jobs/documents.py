"""JSON documents in storage, named after their content: written twice they are one object."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from ..storage import Storage


def put_document(storage: Storage, folder: str, document: Any) -> str:
    """Write the document below the folder, and give its key."""
    content = msgspec.json.encode(document, order="deterministic")
    key = content_key(folder, content, "json")
    storage.put(key, content, content_type="application/json")
    return key


def content_key(folder: str, content: bytes, ending: str) -> str:
    """A key that only this content has; two letters of its hash keep folders small."""
    sha256 = hashlib.sha256(content).hexdigest()
    return f"{folder}/{sha256[:2]}/{sha256}.{ending}"
