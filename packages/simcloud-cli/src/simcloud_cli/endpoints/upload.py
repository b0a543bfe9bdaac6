"""A package in S3: under its digest, so that it is put once and never changes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from simcloud.errors import InvalidRequest
from simcloud.s3.client import S3Settings
from simcloud.s3.errors import NoSuchKey
from simcloud.s3.objects import ObjectStore, open_store
from simcloud_cli.endpoints.packaged import (
    ARCHIVE_NAME,
    DESCRIPTION_NAME,
    PackagedModel,
    read_packaged,
)
from simcloud_cli.session import current_context

if TYPE_CHECKING:
    from simcloud_cli.endpoints.aws import AwsPlace

_URI = re.compile(r"^s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<key>\S*))?$")
_GZIP = "application/gzip"
_MAX_PUT_BYTES = 5 * 2**30
"""S3's limit of PutObject."""
_DIGEST_LENGTH = 16


def split_uri(uri: str, *, field: str) -> tuple[str, str]:
    """Bucket and key of an ``s3://`` URI; the key may be empty.

    Raises:
        InvalidRequest: it is none.
    """
    match = _URI.match(uri)
    if match is None:
        raise InvalidRequest(field, f"expected s3://bucket/prefix, found {uri!r}")
    return match["bucket"], match["key"] or ""


@asynccontextmanager
async def store_of(bucket: str, place: AwsPlace) -> AsyncIterator[ObjectStore]:
    """S3 as the context in force says it for its own bucket, else as AWS's own rules do.

    Args:
        bucket: what is read or written.
        place: region and profile for a bucket that is not the context's.
    """
    async with open_store(_settings(bucket, place)) as store:
        yield store


async def upload_package(
    archive: Path, packaged: PackagedModel, *, to: str, place: AwsPlace
) -> str:
    """Puts a package below a prefix; the URI of its archive. What is there already stays.

    Args:
        archive: its ``model.tar.gz``.
        packaged: what is known of it.
        to: ``s3://bucket/prefix``.
        place: whose S3.

    Raises:
        InvalidRequest: ``to`` is no such URI.
        SimcloudError: as ``simcloud.s3.errors``.
    """
    bucket, folder = _folder(to, packaged)
    size = (await asyncio.to_thread(archive.stat)).st_size
    if size > _MAX_PUT_BYTES:
        raise InvalidRequest(
            str(archive),
            f"has {size} bytes, more than S3 takes in one piece: `aws s3 cp` it and model.json to "
            f"{planned_uri(to, packaged)}, and deploy that",
        )
    data = await asyncio.to_thread(archive.read_bytes)
    async with store_of(bucket, place) as store:
        await store.put_if_absent(bucket, f"{folder}/{ARCHIVE_NAME}", data, content_type=_GZIP)
        # After the archive: a description that is there has its archive.
        await store.put_if_absent(bucket, f"{folder}/{DESCRIPTION_NAME}", packaged.as_bytes())
    return f"s3://{bucket}/{folder}/{ARCHIVE_NAME}"


def planned_uri(to: str, packaged: PackagedModel) -> str:
    """Where ``upload_package`` puts the archive.

    Raises:
        InvalidRequest: ``to`` is no ``s3://`` URI.
    """
    bucket, folder = _folder(to, packaged)
    return f"s3://{bucket}/{folder}/{ARCHIVE_NAME}"


def _folder(to: str, packaged: PackagedModel) -> tuple[str, str]:
    bucket, prefix = split_uri(to, field="--to")
    parts = (prefix.strip("/"), packaged.name, packaged.sha256[:_DIGEST_LENGTH])
    return bucket, "/".join(part for part in parts if part)


async def packaged_at(uri: str, place: AwsPlace) -> PackagedModel | None:
    """What is known of an archive in S3; None: nothing lies beside it, it was made otherwise.

    Raises:
        InvalidRequest: the URI is none, or its ``model.json`` is broken.
        NotFound: the archive is not there.
        SimcloudError: as ``simcloud.s3.errors``.
    """
    bucket, key = split_uri(uri, field="--model")
    if not key.endswith(".tar.gz"):
        raise InvalidRequest("--model", f"expected the URI of a model.tar.gz, found {uri}")
    description = f"{key.rpartition('/')[0]}/{DESCRIPTION_NAME}".lstrip("/")
    async with store_of(bucket, place) as store:
        await store.head(bucket, key)
        try:
            body = await store.get(bucket, description)
        except NoSuchKey:
            return None
    return read_packaged(body.data, where=f"s3://{bucket}/{description}")


def _settings(bucket: str, place: AwsPlace) -> S3Settings:
    _, context = current_context()
    if not context.embedded and context.bucket == bucket:
        return context.s3
    from simcloud_cli.endpoints.aws import s3_settings

    return s3_settings(place)
