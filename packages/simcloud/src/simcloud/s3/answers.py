"""What S3 answers about an object, as our types."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from simcloud.errors import Corruption
from simcloud.s3 import checksums


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object without its bytes."""

    key: str
    size_bytes: int
    """Size of the whole object."""
    etag: str
    """Quotes included."""
    last_modified: datetime
    """By S3's clock, whole seconds."""
    crc64nvme: int | None
    """CRC of the whole object, when S3 keeps one."""
    metadata: dict[str, str]
    """User metadata, names in lower case without ``x-amz-meta-``."""
    date: datetime
    """When S3 answered, by its clock, whole seconds."""


@dataclass(frozen=True, slots=True)
class Body:
    """An object's bytes, or a range of them."""

    info: ObjectInfo
    data: bytes


def info_of(key: str, answer: dict[str, Any]) -> ObjectInfo:
    """What the answer to a GET or HEAD says of the object ``key``."""
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    size = answer["ContentLength"]
    if content_range := answer.get("ContentRange"):
        size = int(content_range.rpartition("/")[2])
    crc = answer.get("ChecksumCRC64NVME")
    # COMPOSITE is a checksum of the parts' checksums, not of the object
    full = answer.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT"
    return ObjectInfo(
        key=key,
        size_bytes=size,
        etag=answer["ETag"],
        last_modified=answer["LastModified"],
        crc64nvme=checksums.from_base64(crc) if crc and full else None,
        metadata={name.lower(): value for name, value in answer.get("Metadata", {}).items()},
        date=parsedate_to_datetime(headers["date"]),
    )


def check_body(bucket: str, body: Body, *, whole: bool, length: int | None) -> None:
    """Returns when all bytes came, and a whole object's are those of S3's CRC, when there is one.

    Args:
        bucket: where the object is.
        body: what came.
        whole: whether all of the object was asked for.
        length: how many bytes were, otherwise; None: to the end.

    Raises:
        Corruption: they are not.
    """
    where = f"s3://{bucket}/{body.info.key}"
    found = len(body.data)
    if whole:
        if found != body.info.size_bytes:
            raise Corruption(f"{where}: {found} bytes came of {body.info.size_bytes}")
        expected = body.info.crc64nvme
        if expected is not None and (crc := checksums.crc64nvme(body.data)) != expected:
            raise Corruption(
                f"{where}: the bytes have CRC {checksums.to_hex(crc)}, S3 says "
                f"{checksums.to_hex(expected)}"
            )
    elif length is not None and found != length:
        raise Corruption(f"{where}: {found} bytes came of the {length} asked for")
