"""Decides where objects are stored, from [storage] url and the environment's credentials."""

from __future__ import annotations

from collections.abc import Mapping

from .types import StorageSettings

_ALL_OF_R2 = ("ACCOUNT_ID", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "BUCKET_NAME")


def resolve_storage(url: str | None, environ: Mapping[str, str], warnings: list[str]) -> tuple[StorageSettings, str]:
    """The storage and where its url came from ("" where it was given).

    No `url` and all of R2_*: R2. `s3://` takes R2's credentials where its bucket is R2's or AWS has none,
    else AWS's; without any, boto3 looks for its own (instance roles, profiles). Raises ValueError for a url
    that is neither file: nor s3:.
    """
    r2 = {name: _r2(environ, name) for name in (*_ALL_OF_R2, "PUBLIC_URL", "ENDPOINT_URL")}
    endpoint = r2["ENDPOINT_URL"] or environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
    missing = [name for name in _ALL_OF_R2 if not r2[name] and not (name == "ACCOUNT_ID" and endpoint)]
    if url is None:
        if not missing:
            return _on_r2(f"s3://{r2['BUCKET_NAME']}", r2, environ, endpoint), "environment R2_BUCKET_NAME"
        if any(r2[name] for name in _ALL_OF_R2):
            names = ", ".join(f"R2_{name}" for name in missing)
            warnings.append(f"storage: {names} not set, so objects are stored below the home and not in R2")
        return StorageSettings(), "default"
    if not url.startswith("s3://"):
        return StorageSettings(url=_checked_file(url)), ""
    bucket = url.removeprefix("s3://").partition("/")[0]
    if not bucket:
        raise ValueError("no bucket named")
    has_r2 = all(name == "BUCKET_NAME" or name not in missing for name in _ALL_OF_R2)
    if has_r2 and (bucket == r2["BUCKET_NAME"] or not environ.get("AWS_ACCESS_KEY_ID")):
        return _on_r2(url, r2, environ, endpoint), ""
    return _on_aws(url, environ, endpoint), ""


def _r2(environ: Mapping[str, str], name: str) -> str:
    return (environ.get(f"R2_{name}") or environ.get(f"CLOUDFLARE_R2_{name}") or "").strip()


def _on_r2(url: str, r2: Mapping[str, str], environ: Mapping[str, str], endpoint: str | None) -> StorageSettings:
    return StorageSettings(
        url=url,
        endpoint_url=endpoint or f"https://{r2['ACCOUNT_ID']}.r2.cloudflarestorage.com",
        access_key_id=r2["ACCESS_KEY_ID"],
        secret_access_key=r2["SECRET_ACCESS_KEY"],
        region=_region(environ) if endpoint else "auto",
        public_url=r2["PUBLIC_URL"] or None,
    )


def _on_aws(url: str, environ: Mapping[str, str], endpoint: str | None) -> StorageSettings:
    return StorageSettings(
        url=url,
        endpoint_url=endpoint or None,
        access_key_id=environ.get("AWS_ACCESS_KEY_ID") or None,
        secret_access_key=environ.get("AWS_SECRET_ACCESS_KEY") or None,
        session_token=environ.get("AWS_SESSION_TOKEN") or None,
        region=_region(environ),
    )


def _region(environ: Mapping[str, str]) -> str | None:
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or None


def _checked_file(url: str) -> str:
    if url == "file:" or (url.startswith("file:///") and len(url) > len("file:///")):
        return url
    raise ValueError("neither a folder nor a bucket")
