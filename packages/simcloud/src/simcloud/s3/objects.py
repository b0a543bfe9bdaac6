"""S3 in small typed operations, each retried where repeating it is safe."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

from simcloud.errors import Corruption
from simcloud.s3 import checksums
from simcloud.s3.answers import Body, ObjectInfo, check_body, info_of
from simcloud.s3.buckets import Buckets
from simcloud.s3.client import S3Client, S3Settings, open_client
from simcloud.s3.errors import (
    Conditional,
    NoSuchKey,
    ObjectChanged,
    ObjectExists,
    translating,
)
from simcloud.s3.multipart import Multipart
from simcloud.s3.retrying import RetryPolicy

READ_BACK_BYTES = 8 << 20
"""Of one GET where an object is read back."""
_NONCE = "simcloud-put"
"""User metadata that tells our own PUT from another's when the answer was lost."""

JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class PutOutcome:
    """What became of a conditional put."""

    created: bool
    """Whether this call made the object; else another did, before."""
    etag: str
    """ETag of the object there is now, quotes included; empty when another's and unread."""


class ObjectStore(Buckets, Multipart):
    """S3 at one endpoint.

    Every method raises the classes of ``simcloud.s3.errors``.
    """

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
            return Body(info=info_of(key, cast("dict[str, Any]", answer)), data=data)

        body = await self._retrier.run(attempt)
        check_body(bucket, body, whole=whole, length=length)
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
            return Body(info=info_of(key, cast("dict[str, Any]", answer)), data=data)

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
            return info_of(key, cast("dict[str, Any]", answer))

        return await self._retrier.run(attempt)

    async def find(self, bucket: str, key: str) -> ObjectInfo | None:
        """As ``head``, or None when there is no such object."""
        try:
            return await self.head(bucket, key)
        except NoSuchKey:
            return None


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
