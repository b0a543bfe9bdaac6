"""What the settings add to each request, in one place.

An object is encrypted, tagged, classed and locked alike whoever of us writes it, by PutObject or by
a multipart upload.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from simcloud.s3.client import S3Settings

PROBE_FOLDER = ".simcloud-probe"
"""What `simcloud.s3.probe` writes is below it, and is deleted again."""
_SHORT_LIVED = re.compile(
    rf"(^|/)(uploads/(\d{{6,9}}/\d{{4,9}}|fingerprint)\.json|{PROBE_FOLDER}/.*)$"
)
_MAKES_OBJECT = frozenset({"PutObject", "CreateMultipartUpload", "CopyObject"})
_MAX_TAGS = 10
_TAG = re.compile(r"[\w .:/=+\-@]*", re.UNICODE)


class Encryption(StrEnum):
    """Server-side encryption asked for."""

    DEFAULT = ""
    """The bucket's own: on AWS SSE-S3 at the least."""
    SSE_S3 = "AES256"
    SSE_KMS = "aws:kms"
    SSE_KMS_TWICE = "aws:kms:dsse"


class ObjectLock(BaseModel):
    """Write-once protection. The bucket must have been made with object lock, so versioned.

    Shards, indexes, documents and manifests are locked, since nothing ever changes them; the small
    objects that say who owns an open shard are not: they are rewritten and swept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["", "GOVERNANCE", "COMPLIANCE"] = ""
    """Retention mode; empty: none is asked for and the bucket's default holds."""
    retain_days: int = Field(default=0, ge=0, le=36_500)
    """Days from the write on; required with `mode`."""
    legal_hold: bool = False
    """Put a legal hold on each object, which stays until somebody lifts it."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.mode) != bool(self.retain_days):
            raise ValueError("mode and retain_days are given together or not at all")
        return self


def check_tags(tags: Mapping[str, str]) -> None:
    """Returns when S3 takes them as an object's tags.

    Raises:
        ValueError: more than ten, a key or value too long or of characters that S3 refuses.
    """
    if len(tags) > _MAX_TAGS:
        raise ValueError(f"an object has at most {_MAX_TAGS} tags, found {len(tags)}")
    for name, value in tags.items():
        if not 1 <= len(name) <= 128 or len(value) > 256 or name.startswith("aws:"):
            raise ValueError(
                f"tag {name!r}: keys have 1 to 128 characters and don't begin with aws:, values "
                "at most 256"
            )
        if not (_TAG.fullmatch(name) and _TAG.fullmatch(value)):
            raise ValueError(f"tag {name!r}: letters, digits, spaces and . : / = + - _ @ only")


def is_short_lived(key: str) -> bool:
    """Whether an object is rewritten or deleted within its run's making: no lock, no cold class."""
    return _SHORT_LIVED.search(key) is not None


class _Shape(Protocol):
    members: Mapping[str, object]


class _Operation(Protocol):
    name: str
    input_shape: _Shape | None


def added(
    settings: S3Settings, operation: _Operation, params: Mapping[str, Any], *, now: datetime
) -> dict[str, Any]:
    """Parameters that the settings add to a request; never one that the request has already.

    Args:
        settings: the client's.
        operation: botocore's model of it: only what it knows is added.
        params: of the request.
        now: from when on retention counts, UTC.
    """
    result: dict[str, Any] = {}
    if settings.expected_bucket_owner and operation.name != "CreateBucket":
        result["ExpectedBucketOwner"] = settings.expected_bucket_owner
    if settings.requester_pays:
        result["RequestPayer"] = "requester"
    if operation.name in _MAKES_OBJECT:
        result |= _of_object(settings, short_lived=is_short_lived(str(params["Key"])), now=now)
    known = operation.input_shape.members if operation.input_shape is not None else {}
    return {name: value for name, value in result.items() if name in known and name not in params}


def _of_object(settings: S3Settings, *, short_lived: bool, now: datetime) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if settings.encryption:
        result["ServerSideEncryption"] = settings.encryption.value
    if settings.kms_key_id:
        result["SSEKMSKeyId"] = settings.kms_key_id
    if settings.bucket_key is not None:
        result["BucketKeyEnabled"] = settings.bucket_key
    if settings.tags:
        result["Tagging"] = urlencode(settings.tags)
    if short_lived:
        return result
    if settings.storage_class:
        result["StorageClass"] = settings.storage_class
    lock = settings.object_lock
    if lock.mode:
        result["ObjectLockMode"] = lock.mode
        result["ObjectLockRetainUntilDate"] = now + timedelta(days=lock.retain_days)
    if lock.legal_hold:
        result["ObjectLockLegalHoldStatus"] = "ON"
    return result


def utc_now() -> datetime:
    """Now, UTC, whole seconds: as S3 keeps retention dates."""
    return datetime.now(UTC).replace(microsecond=0)
