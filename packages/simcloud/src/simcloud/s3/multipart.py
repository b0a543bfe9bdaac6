"""S3's multipart calls as thin typed wrappers; the commit protocol on them is the uploader's.

Every upload made here carries a CRC-64/NVME over the full object: S3 knows the algorithm from
Create on, checks each part, and compares the whole at Complete.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, cast

from simcloud.s3 import checksums
from simcloud.s3.body import Pieces
from simcloud.s3.calls import Calls
from simcloud.s3.errors import Conditional, NoSuchUpload, translating

if TYPE_CHECKING:
    from types_aiobotocore_s3.type_defs import CompletedPartTypeDef

MIN_PART_BYTES = 5 << 20
"""S3's least size of a part that is not the last."""
MAX_PARTS = 10_000
"""S3's highest part number."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a multipart upload that S3 has."""

    number: int
    """From 1 to 10 000."""
    size_bytes: int
    etag: str
    """Quotes included."""
    crc64nvme: int | None
    """CRC of the part's bytes; None where a listing doesn't say (SeaweedFS)."""


@dataclass(frozen=True, slots=True)
class ListedUpload:
    """A multipart upload that is neither completed nor aborted."""

    key: str
    upload_id: str
    initiated: datetime
    """By S3's clock."""


class Multipart(Calls):
    """The calls of multipart uploads."""

    async def create_multipart(
        self, bucket: str, key: str, *, metadata: dict[str, str], content_type: str
    ) -> str:
        """Begins an upload and returns its id; a lost answer leaves one to the sweep.

        Args:
            bucket: S3 bucket.
            key: object key.
            metadata: user metadata by name, ASCII, without ``x-amz-meta-``.
            content_type: media type of the object.
        """

        async def attempt(_: int) -> str:
            with translating("CreateMultipartUpload", bucket=bucket, key=key):
                answer = await self._client.create_multipart_upload(
                    Bucket=bucket,
                    Key=key,
                    Metadata=metadata,
                    ContentType=content_type,
                    ChecksumAlgorithm="CRC64NVME",
                    ChecksumType="FULL_OBJECT",
                    **self._owner,
                )
            return answer["UploadId"]

        return await self._retrier.run(attempt)

    async def upload_part(
        self,
        bucket: str,
        key: str,
        *,
        upload_id: str,
        number: int,
        data: bytes | Pieces,
        crc64nvme: int,
    ) -> str:
        """Sends a part and returns its ETag, quotes included.

        Tried again like any read: a part with a used number replaces the one before.

        Args:
            bucket: S3 bucket.
            key: object key.
            upload_id: the upload.
            number: of the part, from 1 to 10 000.
            data: its bytes, sent without being copied.
            crc64nvme: their CRC, which S3 checks.

        Raises:
            NoSuchUpload: the upload is gone.
            BadDigest: the bytes that arrived are not those of ``crc64nvme``.
        """
        pieces = Pieces([data]) if isinstance(data, bytes) else data
        body = cast("IO[bytes]", pieces)  # to botocore; to aiohttp a payload

        async def attempt(_: int) -> str:
            with translating("UploadPart", bucket=bucket, key=key):
                answer = await self._client.upload_part(
                    Bucket=bucket,
                    Key=key,
                    UploadId=upload_id,
                    PartNumber=number,
                    Body=body,
                    ContentLength=len(pieces),
                    ChecksumCRC64NVME=checksums.to_base64(crc64nvme),
                    **self._owner,
                )
            return answer["ETag"]

        return await self._retrier.run(attempt)

    async def complete_multipart(
        self,
        bucket: str,
        key: str,
        *,
        upload_id: str,
        parts: Sequence[Part],
        size_bytes: int,
        crc64nvme: int,
    ) -> str:
        """Makes the object of its parts, if there is none under the key; returns its ETag.

        One try: what an error, or no answer, means for the object is the caller's to find out.

        Args:
            bucket: S3 bucket.
            key: object key.
            upload_id: the upload.
            parts: every part, by number, from 1 without gaps.
            size_bytes: size of the whole object.
            crc64nvme: CRC of the whole object.

        Raises:
            ObjectExists: there is an object under the key, perhaps this one.
            ConditionalConflict: another write was in progress; this upload can't be completed.
            NoSuchUpload: completed or aborted before.
            InvalidPart: S3 has another part than the caller says.
            ServerFailed, NoAnswer: unknown whether it was done.
        """
        with translating(
            "CompleteMultipartUpload",
            bucket=bucket,
            key=key,
            conditional=Conditional.IF_NONE_MATCH,
        ):
            answer = await self._client.complete_multipart_upload(
                Bucket=bucket,
                Key=key,
                UploadId=upload_id,
                MultipartUpload={"Parts": [_completed(part) for part in parts]},
                MpuObjectSize=size_bytes,
                ChecksumCRC64NVME=checksums.to_base64(crc64nvme),
                ChecksumType="FULL_OBJECT",
                IfNoneMatch="*",
                **self._owner,
            )
        return answer["ETag"]

    async def abort_multipart(self, bucket: str, key: str, *, upload_id: str) -> None:
        """Drops an upload and its parts; that it is gone already is no error.

        Parts that were in flight may appear afterwards: abort again, or leave it to the sweep.
        """

        async def attempt(_: int) -> None:
            with (
                suppress(NoSuchUpload),
                translating("AbortMultipartUpload", bucket=bucket, key=key),
            ):
                await self._client.abort_multipart_upload(
                    Bucket=bucket, Key=key, UploadId=upload_id, **self._owner
                )

        await self._retrier.run(attempt)

    async def list_parts(self, bucket: str, key: str, *, upload_id: str) -> list[Part]:
        """Every part that S3 has, by number.

        Raises:
            NoSuchUpload: the upload is gone.
        """
        parts: list[Part] = []
        arguments: dict[str, Any] = {
            "Bucket": bucket,
            "Key": key,
            "UploadId": upload_id,
            **self._owner,
        }

        async def attempt(_: int) -> dict[str, Any]:
            with translating("ListParts", bucket=bucket, key=key):
                return cast("dict[str, Any]", await self._client.list_parts(**arguments))

        while True:
            page = await self._retrier.run(attempt)
            parts.extend(
                Part(
                    number=row["PartNumber"],
                    size_bytes=row["Size"],
                    etag=row["ETag"],
                    crc64nvme=checksums.from_base64(row["ChecksumCRC64NVME"])
                    if "ChecksumCRC64NVME" in row
                    else None,
                )
                for row in page.get("Parts", [])
            )
            if not page.get("IsTruncated"):
                return parts
            arguments["PartNumberMarker"] = page["NextPartNumberMarker"]

    async def list_uploads(self, bucket: str, prefix: str) -> AsyncIterator[ListedUpload]:
        """Every open upload whose key begins with ``prefix``, by key."""
        arguments: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, **self._owner}

        async def attempt(_: int) -> dict[str, Any]:
            with translating("ListMultipartUploads", bucket=bucket, key=prefix):
                return cast(
                    "dict[str, Any]", await self._client.list_multipart_uploads(**arguments)
                )

        while True:
            page = await self._retrier.run(attempt)
            for row in page.get("Uploads", []):
                yield ListedUpload(
                    key=row["Key"], upload_id=row["UploadId"], initiated=row["Initiated"]
                )
            if not page.get("IsTruncated"):
                return
            arguments["KeyMarker"] = page["NextKeyMarker"]
            arguments["UploadIdMarker"] = page["NextUploadIdMarker"]


def _completed(part: Part) -> CompletedPartTypeDef:
    row: CompletedPartTypeDef = {"PartNumber": part.number, "ETag": part.etag}
    if part.crc64nvme is not None:
        row["ChecksumCRC64NVME"] = checksums.to_base64(part.crc64nvme)
    return row
