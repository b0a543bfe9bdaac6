"""Copies within one S3: parts of an upload that the server takes from another object itself.

CopyObject would be one request in place of three, but older S3 and most compatible servers ignore
``If-None-Match`` there. A copy by parts is completed as any upload is: under a condition, with the
CRC of the whole object, which the server compares with what it has copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simcloud.s3 import checksums
from simcloud.s3.client import S3Settings
from simcloud.s3.errors import AccessDenied, Conditional, Refused, translating
from simcloud.s3.multipart import Part
from simcloud.s3.objects import ObjectStore
from simcloud.s3.retrying import Retrier, RetryPolicy

COPY_PART_BYTES = 256 << 20
"""Of one copied part: far below S3's 5 GiB, so that no answer takes minutes."""
MIN_RANGE_BYTES = 5 << 20
"""S3 copies ranges only of objects larger than that; smaller ones are copied whole."""

CAN_NOT_COPY = (Refused, AccessDenied)
"""What a server, or a role, that can't copy from there answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySource:
    """A range of an object."""

    bucket: str
    key: str
    etag: str
    """The object must have it, quotes included."""
    start: int
    """First byte."""
    length: int
    """Number of bytes."""
    whole: bool
    """Whether that is all of the object."""
    owner: str = ""
    """AWS account that must own its bucket; empty: any."""
    requester_pays: bool = False
    """Say that we pay for reading it."""


def same_server(one: S3Settings, other: S3Settings) -> bool:
    """Whether both are one S3 and we are the same there: then it can copy by itself."""
    return _who_and_where(one) == _who_and_where(other)


def _who_and_where(settings: S3Settings) -> tuple[str, str, str]:
    # AWS copies between its regions; servers of our own have none
    where = settings.endpoint_url.rstrip("/")
    return where, settings.access_key_id, settings.secret_access_key.get_secret_value()


class PartCopier:
    """UploadPartCopy, tried again as an UploadPart is: a part of the same number is replaced.

    Args:
        store: the destination's S3.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._client = store.client
        self._retrier = Retrier(RetryPolicy())

    async def copy(
        self, source: CopySource, *, bucket: str, key: str, upload_id: str, number: int
    ) -> Part:
        """Has the server copy a range as a part; its CRC is the server's, None when it tells none.

        Args:
            source: what is copied.
            bucket: of the copy.
            key: of the copy.
            upload_id: the upload of the copy.
            number: of the part, from 1 to 10 000.

        Raises:
            Refused, AccessDenied: it does not copy, or not from there.
            ObjectChanged: the source has another ETag.
        """
        arguments: dict[str, Any] = {
            "Bucket": bucket,
            "Key": key,
            "UploadId": upload_id,
            "PartNumber": number,
            "CopySource": {"Bucket": source.bucket, "Key": source.key},
            "CopySourceIfMatch": source.etag,
        }
        # What the destination's settings say is added to every request; these are the source's.
        if source.owner:
            arguments["ExpectedSourceBucketOwner"] = source.owner
        if source.requester_pays:
            arguments["RequestPayer"] = "requester"
        if not source.whole:
            arguments["CopySourceRange"] = (
                f"bytes={source.start}-{source.start + source.length - 1}"
            )

        async def attempt(_: int) -> Part:
            with translating(
                "UploadPartCopy", bucket=bucket, key=key, conditional=Conditional.IF_MATCH
            ):
                answer = await self._client.upload_part_copy(**arguments)
            result = answer["CopyPartResult"]
            crc = result.get("ChecksumCRC64NVME")
            return Part(
                number=number,
                size_bytes=source.length,
                etag=result["ETag"],
                crc64nvme=checksums.from_base64(crc) if crc else None,
            )

        return await self._retrier.run(attempt)
