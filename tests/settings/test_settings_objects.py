from __future__ import annotations

import pytest

from workerctl.settings import StorageSettings
from workerctl.settings.objects import resolve_storage

R2 = {"R2_ACCOUNT_ID": "acc", "R2_ACCESS_KEY_ID": "id", "R2_SECRET_ACCESS_KEY": "key", "R2_BUCKET_NAME": "pictures"}
AWS = {
    "AWS_ACCESS_KEY_ID": "aid",
    "AWS_SECRET_ACCESS_KEY": "akey",
    "AWS_SESSION_TOKEN": "tok",
    "AWS_REGION": "eu-west-1",
}
ON_R2 = StorageSettings(
    url="s3://pictures",
    endpoint_url="https://acc.r2.cloudflarestorage.com",
    access_key_id="id",
    secret_access_key="key",
    region="auto",
)
ON_AWS = StorageSettings(
    url="s3://other/prefix",
    access_key_id="aid",
    secret_access_key="akey",
    session_token="tok",
    region="eu-west-1",
)


def resolved(url, environ):
    warnings: list[str] = []
    storage, _ = resolve_storage(url, environ, warnings)
    return storage, warnings


@pytest.mark.parametrize(
    ("url", "environ", "storage"),
    [
        (None, {}, StorageSettings()),
        (None, AWS, StorageSettings()),  # AWS_* are credentials only
        (None, R2, ON_R2),
        (None, {f"CLOUDFLARE_{name}": value for name, value in R2.items()}, ON_R2),
        ("file:", R2, StorageSettings()),
        ("file:///srv/objects", R2, StorageSettings(url="file:///srv/objects")),
        ("s3://other/prefix", AWS, ON_AWS),
        ("s3://other/prefix", R2 | AWS, ON_AWS),
        ("s3://pictures", R2 | AWS, ON_R2),
        ("s3://other", {}, StorageSettings(url="s3://other")),
    ],
)
def test_where_objects_go(url, environ, storage):
    assert resolved(url, environ) == (storage, [])


@pytest.mark.parametrize("name", ["R2_ENDPOINT_URL", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_an_endpoint_of_another_s3_replaces_the_account(name):
    environ = {key: value for key, value in R2.items() if key != "R2_ACCOUNT_ID"} | {name: "http://127.0.0.1:8333"}
    storage, warnings = resolved(None, environ)
    assert (storage.url, storage.endpoint_url, warnings) == ("s3://pictures", "http://127.0.0.1:8333", [])


def test_what_is_missing_of_r2_is_said():
    storage, warnings = resolved(
        None, {"R2_ACCOUNT_ID": "acc", "R2_ACCESS_KEY_ID": "id", "R2_SECRET_ACCESS_KEY": "key"}
    )
    assert storage == StorageSettings()
    assert warnings == ["storage: R2_BUCKET_NAME not set, so objects are stored below the home and not in R2"]


def test_the_public_url_is_known():
    assert resolved(None, R2 | {"R2_PUBLIC_URL": "https://cdn.example"})[0].public_url == "https://cdn.example"
