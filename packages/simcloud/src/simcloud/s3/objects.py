"""S3 in small typed operations, each retried where repeating it is safe."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

from simcloud.errors import Corruption, StorageError
from simcloud.s3 import checksums
from simcloud.s3.client import S3Client, S3Settings, open_client
from simcloud.s3.errors import (
    Conditional,
    ConditionalConflict,
    NoSuchKey,
    ObjectChanged,
    ObjectExists,
    Refused,
    translating,
)
from simcloud.s3.multipart import ListedUpload, Multipart, Part
from simcloud.s3.retrying import RetryPolicy

__all__ = [
    "JSON_TYPE",
    "Body",
    "ListedObject",
    "ListedUpload",
    "ObjectInfo",
    "ObjectStore",
    "Part",
    "PutOutcome",
    "open_store",
]

READ_BACK_BYTES = 8 << 20
"""Of one GET where an object is read back."""
DELETE_BATCH = 1000
"""Keys of one DeleteObjects."""
_NONCE = "simcloud-put"
"""User metadata that tells our own PUT from another's when the answer was lost."""

JSON_TYPE = "application/json"


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


@dataclass(frozen=True, slots=True)
class PutOutcome:
    """What became of a conditional put."""

    created: bool
    """Whether this call made the object; else another did, before."""
    etag: str
    """ETag of the object there is now, quotes included; empty when another's and unread."""


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One row of a listing."""

    key: str
    size_bytes: int
    etag: str
    last_modified: datetime


class ObjectStore(Multipart):
    """S3 at one endpoint.

    Every method raises the classes of ``simcloud.s3.errors``.
    """

    @property
    def retries(self) -> int:
        """Retries made so far."""
        return self._retrier.retries

    @property
    def client(self) -> S3Client:
        """The raw client, for what is not here."""
        return self._client

    async def get(
        self,
        bucket: str,
        key: str,
        *,
        start: int = 0,
        length: int | None = None,
        if_match: str = "",
    ) -> Body:
        """An object, or ``length`` bytes of it from ``start`` on.

        A whole object is checked against S3's CRC when there is one, a range against its length.

        Args:
            bucket: S3 bucket.
            key: object key.
            start: first byte.
            length: number of bytes, 1 or more; None: to the end.
            if_match: ETag the object must have, quotes included; empty: any.

        Raises:
            NoSuchKey: no such object.
            ObjectChanged: it has another ETag.
            RangeBeyondEnd: the object ends before ``start``.
            Corruption: the bytes are not what S3's CRC says, or fewer than asked for.
        """
        whole = start == 0 and length is None
        arguments: dict[str, Any] = {"Bucket": bucket, "Key": key, **self._owner}
        if whole:
            arguments["ChecksumMode"] = "ENABLED"
        else:
            end = "" if length is None else str(start + length - 1)
            arguments["Range"] = f"bytes={start}-{end}"
        if if_match:
            arguments["IfMatch"] = if_match

        async def attempt(_: int) -> Body:
            with translating("GetObject", bucket=bucket, key=key, conditional=Conditional.IF_MATCH):
                answer = await self._client.get_object(**arguments)
                async with answer["Body"] as stream:
                    data = await stream.read()
            return Body(info=_info(key, cast("dict[str, Any]", answer)), data=data)

        body = await self._retrier.run(attempt)
        _check_body(bucket, body, whole=whole, length=length)
        return body

    async def get_tail(self, bucket: str, key: str, length: int) -> Body:
        """The last ``length`` bytes of an object; all of it when it is shorter.

        Raises:
            NoSuchKey: no such object.
            RangeBeyondEnd: it is empty.
        """

        async def attempt(_: int) -> Body:
            with translating("GetObject", bucket=bucket, key=key):
                answer = await self._client.get_object(
                    Bucket=bucket, Key=key, Range=f"bytes=-{length}", **self._owner
                )
                async with answer["Body"] as stream:
                    data = await stream.read()
            return Body(info=_info(key, cast("dict[str, Any]", answer)), data=data)

        return await self._retrier.run(attempt)

    async def get_json(self, bucket: str, key: str) -> object:
        """A JSON document.

        Raises:
            NoSuchKey: no such object.
            Corruption: not JSON.
        """
        body = await self.get(bucket, key)
        try:
            return cast("object", json.loads(body.data))
        except ValueError as error:
            raise Corruption(f"s3://{bucket}/{key} is not JSON: {error}") from error

    async def put(
        self,
        bucket: str,
        key: str,
        data: bytes,
        *,
        content_type: str = JSON_TYPE,
        if_match: str = "",
    ) -> str:
        """Writes an object over whatever is there, and returns its ETag.

        With ``if_match`` only over the object of that ETag; after a lost answer the object may
        already be ours, which is recognised by a nonce in its metadata.

        Raises:
            ObjectChanged: there is another object than ``if_match`` says.
        """
        nonce = secrets.token_hex(8)

        async def attempt(number: int) -> str:
            try:
                return await self._put(
                    bucket, key, data, content_type=content_type, nonce=nonce, if_match=if_match
                )
            except Exception as error:
                # At the first attempt too: the SDK's HTTP client repeats a PUT out of our sight.
                ours = number or isinstance(error, ObjectChanged)
                if ours and (etag := await self._own_put(bucket, key, nonce)):
                    return etag
                raise

        return await self._retrier.run(attempt)

    async def put_if_absent(
        self, bucket: str, key: str, data: bytes, *, content_type: str = JSON_TYPE
    ) -> PutOutcome:
        """Writes an object if there is none (``If-None-Match: *``); of many callers one creates it.

        A lost answer is resolved: the object is ours exactly when it carries this call's nonce.
        """
        nonce = secrets.token_hex(8)

        async def attempt(_: int) -> PutOutcome:
            try:
                etag = await self._put(
                    bucket, key, data, content_type=content_type, nonce=nonce, absent=True
                )
            except ObjectExists:
                # At the first attempt too, as above.
                own = await self._own_put(bucket, key, nonce)
                return PutOutcome(created=bool(own), etag=own)
            return PutOutcome(created=True, etag=etag)

        return await self._retrier.run(attempt)

    async def _put(
        self,
        bucket: str,
        key: str,
        data: bytes,
        *,
        content_type: str,
        nonce: str,
        if_match: str = "",
        absent: bool = False,
    ) -> str:
        arguments: dict[str, Any] = {
            "Bucket": bucket,
            "Key": key,
            "Body": data,
            "ContentType": content_type,
            "ChecksumCRC64NVME": checksums.to_base64(checksums.crc64nvme(data)),
            "Metadata": {_NONCE: nonce},
            **self._owner,
        }
        conditional = Conditional.NONE
        if absent:
            arguments["IfNoneMatch"] = "*"
            conditional = Conditional.IF_NONE_MATCH
        elif if_match:
            arguments["IfMatch"] = if_match
            conditional = Conditional.IF_MATCH
        with translating("PutObject", bucket=bucket, key=key, conditional=conditional):
            answer = await self._client.put_object(**arguments)
        return answer["ETag"]

    async def with_crc(self, bucket: str, info: ObjectInfo) -> ObjectInfo:
        """What HEAD said of an object, with its CRC: read back where the server keeps none.

        Raises:
            ObjectChanged: it was replaced meanwhile.
        """
        if info.crc64nvme is not None:
            return info
        crc = 0
        for start in range(0, info.size_bytes, READ_BACK_BYTES):
            length = min(READ_BACK_BYTES, info.size_bytes - start)
            body = await self.get(bucket, info.key, start=start, length=length, if_match=info.etag)
            crc = checksums.crc64nvme(body.data, crc)
        return replace(info, crc64nvme=crc)

    async def _own_put(self, bucket: str, key: str, nonce: str) -> str:
        """ETag of the object when it was put with ``nonce``, else empty."""
        info = await self.find(bucket, key)
        return info.etag if info is not None and info.metadata.get(_NONCE) == nonce else ""

    async def head(self, bucket: str, key: str) -> ObjectInfo:
        """An object without its bytes, with its CRC.

        Raises:
            NoSuchKey: no such object; S3 answers alike when the bucket does not exist.
        """

        async def attempt(_: int) -> ObjectInfo:
            with translating("HeadObject", bucket=bucket, key=key):
                answer = await self._client.head_object(
                    Bucket=bucket, Key=key, ChecksumMode="ENABLED", **self._owner
                )
            return _info(key, cast("dict[str, Any]", answer))

        return await self._retrier.run(attempt)

    async def find(self, bucket: str, key: str) -> ObjectInfo | None:
        """As ``head``, or None when there is no such object."""
        try:
            return await self.head(bucket, key)
        except NoSuchKey:
            return None

    async def check_bucket(self, bucket: str) -> None:
        """Returns when the bucket exists and may be used.

        Raises:
            NoSuchBucket: it does not exist.
            AccessDenied: it is not ours to use.
        """

        async def attempt(_: int) -> None:
            with translating("HeadBucket", bucket=bucket):
                await self._client.head_bucket(Bucket=bucket, **self._owner)

        await self._retrier.run(attempt)

    async def ensure_bucket(self, bucket: str) -> None:
        """Creates the bucket if there is none, with S3's defaults; for servers of our own.

        Raises:
            Refused: it belongs to someone else, or can't be named so.
        """

        async def attempt(_: int) -> None:
            try:
                with translating("CreateBucket", bucket=bucket):
                    await self._client.create_bucket(Bucket=bucket)
            except (ConditionalConflict, Refused) as error:
                if error.s3_code != "BucketAlreadyOwnedByYou":
                    raise

        await self._retrier.run(attempt)

    async def list_keys(
        self, bucket: str, prefix: str, *, start_after: str = ""
    ) -> AsyncIterator[ListedObject]:
        """Every object whose key begins with ``prefix``, by key (UTF-8 binary order).

        Args:
            bucket: S3 bucket.
            prefix: beginning of the keys.
            start_after: only keys that come after this one.
        """
        async for page in self._pages(bucket, prefix, start_after=start_after, delimiter=""):
            for row in page.get("Contents", []):
                yield ListedObject(
                    key=row["Key"],
                    size_bytes=row["Size"],
                    etag=row["ETag"],
                    last_modified=row["LastModified"],
                )

    async def list_folders(
        self, bucket: str, prefix: str, *, start_after: str = ""
    ) -> AsyncIterator[str]:
        """The names between ``prefix`` and the next slash, by name; each once.

        Args:
            bucket: S3 bucket.
            prefix: empty, or ends with a slash.
            start_after: only names that come after this one.
        """
        # "0" is the byte after "/": keys of the folder itself come before it
        after = f"{prefix}{start_after}0" if start_after else ""
        async for page in self._pages(bucket, prefix, start_after=after, delimiter="/"):
            for row in page.get("CommonPrefixes", []):
                yield row["Prefix"][len(prefix) : -1]

    async def _pages(
        self, bucket: str, prefix: str, *, start_after: str, delimiter: str
    ) -> AsyncIterator[dict[str, Any]]:
        arguments: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, **self._owner}
        if start_after:
            arguments["StartAfter"] = start_after
        if delimiter:
            arguments["Delimiter"] = delimiter

        async def attempt(_: int) -> dict[str, Any]:
            with translating("ListObjectsV2", bucket=bucket, key=prefix):
                answer = await self._client.list_objects_v2(**arguments)
            return cast("dict[str, Any]", answer)

        while True:
            page = await self._retrier.run(attempt)
            yield page
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    async def delete_many(self, bucket: str, keys: Iterable[str]) -> int:
        """Deletes objects, a thousand a request, and returns how many; absent ones count too.

        Raises:
            StorageError: S3 could not delete one; the first is named.
        """
        ordered = list(keys)
        for begin in range(0, len(ordered), DELETE_BATCH):
            await self._delete_batch(bucket, ordered[begin : begin + DELETE_BATCH])
        return len(ordered)

    async def _delete_batch(self, bucket: str, keys: Sequence[str]) -> None:
        async def attempt(_: int) -> None:
            with translating("DeleteObjects", bucket=bucket, key=keys[0]):
                answer = await self._client.delete_objects(
                    Bucket=bucket,
                    Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
                    **self._owner,
                )
                if errors := answer.get("Errors"):
                    raise _delete_error(cast("dict[str, str]", errors[0]))

        await self._retrier.run(attempt)


@asynccontextmanager
async def open_store(
    settings: S3Settings,
    *,
    retry: RetryPolicy | None = None,
    wrap: Callable[[S3Client], S3Client] | None = None,
) -> AsyncIterator[ObjectStore]:
    """S3 by settings, closed at the end; one a process.

    Args:
        settings: where S3 is and who we are there.
        retry: how often and how fast to try again.
        wrap: put around the raw client, for example ``simcloud.s3.faults.inject``.
    """
    async with open_client(settings) as client:
        yield ObjectStore(
            wrap(client) if wrap else client,
            expected_bucket_owner=settings.expected_bucket_owner,
            retry=retry,
        )


def _info(key: str, answer: dict[str, Any]) -> ObjectInfo:
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


def _check_body(bucket: str, body: Body, *, whole: bool, length: int | None) -> None:
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


def _delete_error(row: dict[str, str]) -> StorageError:
    return StorageError(
        f"DeleteObjects: {row.get('Key', '')} could not be deleted: {row.get('Code', '')} "
        f"{row.get('Message', '')}",
        s3_code=row.get("Code", ""),
    )
