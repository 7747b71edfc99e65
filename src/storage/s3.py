"""Objects in a bucket of S3, Cloudflare R2 or anything that speaks their protocol, through boto3."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import quote, urlsplit

from ..contract import Unreachable, Unusable
from .interface import DEFAULT_CONTENT_TYPE, Entry, Stored, checked_key, missing, too_large
from .streams import as_stream

PART_BYTES = 8 * 1024 * 1024  # at most 10,000 parts: objects up to 80 GB
CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 30
ATTEMPTS = 3
CONNECTIONS = 16

_MISSING = {"NoSuchKey", "404", "NotFound"}
_REFUSED = {
    "AccessDenied",
    "403",
    "Forbidden",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "Unauthorized",
}


class S3Storage:
    """A bucket, or what lies below a prefix of it. Connects on first use; one client serves every thread.

    Every upload carries its SHA-256, signed, so the server refuses what was damaged on the way. Multipart
    uploads that fail are aborted; nothing becomes visible before it is whole.
    """

    def __init__(
        self,
        *,
        bucket: str,
        prefix: str = "",
        endpoint_url: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        session_token: str | None = None,
        region: str | None = None,
        public_url: str | None = None,
    ) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._endpoint_url = endpoint_url
        self._credentials = (access_key_id, secret_access_key, session_token)
        self._region = region
        self._public_url = public_url
        self._lock = threading.Lock()
        self._made_client: Any = None

    def put(
        self, key: str, content: bytes | BinaryIO | Path | Iterator[bytes], *, content_type: str = DEFAULT_CONTENT_TYPE
    ) -> Stored:
        place = self._place(key)
        with as_stream(content) as stream, self._said(key):
            first = _read_part(stream)
            if len(first) < PART_BYTES:
                self._client().put_object(
                    **place, Body=first, ContentType=content_type, ChecksumSHA256=_checksum(first)
                )
                return Stored(key, len(first), hashlib.sha256(first).hexdigest(), content_type)
            size_bytes, sha256 = self._put_parts(place, first, stream, content_type)
        return Stored(key, size_bytes, sha256, content_type)

    def get(self, key: str, *, limit_bytes: int | None = None) -> bytes:
        with self._said(key):
            answer = self._client().get_object(**self._place(key))
            with closing(answer["Body"]) as body:
                if limit_bytes is not None and answer["ContentLength"] > limit_bytes:
                    raise too_large(key, answer["ContentLength"], limit_bytes)
                return cast("bytes", body.read())

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        return self._open(key, self._place(key))

    @contextmanager
    def _open(self, key: str, place: dict[str, str]) -> Iterator[BinaryIO]:
        with self._said(key):
            body = self._client().get_object(**place)["Body"]
            with closing(body):
                yield cast("BinaryIO", body)

    def exists(self, key: str) -> bool:
        from botocore.exceptions import ClientError

        with self._said(key):
            try:
                self._client().head_object(**self._place(key))
            except ClientError as error:
                if error.response["Error"]["Code"] in _MISSING:
                    return False
                raise
        return True

    def delete(self, key: str) -> None:
        with self._said(key):
            self._client().delete_object(**self._place(key))

    def list(self, prefix: str = "") -> Iterator[Entry]:
        with self._said(prefix):
            pages = self._client().get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )  # fmt: skip
            for page in pages:
                for item in page.get("Contents", ()):
                    yield Entry(item["Key"].removeprefix(self._prefix), item["Size"], item["LastModified"])

    def url(self, key: str, *, expires_seconds: float = 3600) -> str:
        place = self._place(key)
        if self._public_url:
            return f"{self._public_url.rstrip('/')}/{quote(place['Key'])}"
        with self._said(key):
            return cast(
                "str",
                self._client().generate_presigned_url(
                    "get_object", Params=place, ExpiresIn=max(1, int(expires_seconds))
                ),
            )

    def _place(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + checked_key(key)}

    def _client(self) -> Any:
        with self._lock:
            if self._made_client is None:
                self._made_client = self._make_client()
            return self._made_client

    def _make_client(self) -> Any:
        import boto3
        from botocore.config import Config

        access_key_id, secret_access_key, session_token = self._credentials
        config = Config(
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=READ_TIMEOUT_SECONDS,
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
            max_pool_connections=CONNECTIONS,
            signature_version="s3v4",
            # R2 takes no trailing checksums, which boto3 would send by itself; ours go in headers.
            request_checksum_calculation="when_required",
            s3={
                "addressing_style": "path" if self._endpoint_url else "auto",
                "payload_signing_enabled": True,
            },
        )
        try:
            return boto3.session.Session().client(
                "s3",
                endpoint_url=self._endpoint_url,
                aws_access_key_id=access_key_id,
                aws_secret_access_key=secret_access_key,
                aws_session_token=session_token,
                region_name=self._region or ("auto" if self._endpoint_url else None),
                config=config,
            )
        except ValueError as error:  # an endpoint that is no URL
            raise Unusable(f"storage.endpoint_url = {self._endpoint_url!r}: {error}") from None

    def _put_parts(self, place: dict[str, str], first: bytes, stream: BinaryIO, content_type: str) -> tuple[int, str]:
        client = self._client()
        upload = client.create_multipart_upload(**place, ContentType=content_type, ChecksumAlgorithm="SHA256")
        place = {**place, "UploadId": upload["UploadId"]}
        digest = hashlib.sha256()
        size_bytes = 0
        parts: list[dict[str, Any]] = []
        try:
            part = first
            while part:
                digest.update(part)
                size_bytes += len(part)
                checksum = _checksum(part)
                answer = client.upload_part(**place, PartNumber=len(parts) + 1, Body=part, ChecksumSHA256=checksum)
                parts.append({"PartNumber": len(parts) + 1, "ETag": answer["ETag"], "ChecksumSHA256": checksum})
                part = _read_part(stream)
            client.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
        except BaseException:
            with suppress(Exception):  # it fails for the same reason; the bucket's own rule clears what is left
                client.abort_multipart_upload(**place)
            raise
        return size_bytes, digest.hexdigest()

    @contextmanager
    def _said(self, key: str) -> Iterator[None]:
        """Say in our words, with the exit code that belongs to it, what boto3 raises."""
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            HTTPClientError,
            NoCredentialsError,
            NoRegionError,
            PartialCredentialsError,
        )
        from botocore.exceptions import ConnectionError as BotoConnectionError

        try:
            yield
        except ClientError as error:
            raise self._refusal(key, error) from error
        except (HTTPClientError, BotoConnectionError) as error:
            raise Unreachable(
                f"storage {self._name} does not answer ({type(error).__name__}); check its address"
            ) from error
        except (NoCredentialsError, PartialCredentialsError, NoRegionError) as error:
            raise Unusable(
                f"storage {self._name}: {error}; set R2_ACCESS_KEY_ID and its secret, or the AWS names"
            ) from error
        except BotoCoreError as error:
            raise Unreachable(f"storage {self._name} failed at {key!r}: {error}") from error

    def _refusal(self, key: str, error: Any) -> Exception:
        code = error.response["Error"].get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _MISSING:
            return missing(key)
        if code == "NoSuchBucket":
            return Unusable(f"storage {self._name}: there is no bucket {self._bucket!r}; create it first")
        if code in _REFUSED:
            return Unusable(f"storage {self._name} refuses the credentials ({code}); check key, secret and rights")
        return Unreachable(f"storage {self._name} failed at {key!r} with {status} {code}; see its own log")

    @property
    def _name(self) -> str:
        host = urlsplit(self._endpoint_url).netloc.rpartition("@")[2] if self._endpoint_url else "s3"
        return f"{host}/{self._bucket}"


def _read_part(stream: BinaryIO) -> bytes:
    """A whole part, or what is left: a pipe or a socket gives fewer bytes than asked for."""
    blocks: list[bytes] = []
    wanted = PART_BYTES
    while wanted and (block := stream.read(wanted)):
        blocks.append(block)
        wanted -= len(block)
    return b"".join(blocks)


def _checksum(part: bytes) -> str:
    return base64.b64encode(hashlib.sha256(part).digest()).decode()
