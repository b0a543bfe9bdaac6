"""S3 where the server ignores conditions on writes: what is there is asked for before each one."""

from __future__ import annotations

from collections.abc import Sequence

from simcloud.s3.errors import ObjectChanged, ObjectExists
from simcloud.s3.multipart import Part
from simcloud.s3.objects import JSON_TYPE, ObjectStore, PutOutcome


class CheckingStore(ObjectStore):
    """An ``ObjectStore`` for one writer at a time.

    Between the question and the write another writer may come: nothing but the operator's word
    says that there is none.
    """

    async def put(
        self,
        bucket: str,
        key: str,
        data: bytes,
        *,
        content_type: str = JSON_TYPE,
        if_match: str = "",
    ) -> str:
        """As ``ObjectStore.put``."""
        if if_match and (found := await self.head(bucket, key)).etag != if_match:
            raise ObjectChanged(f"s3://{bucket}/{key} has ETag {found.etag}, not {if_match}")
        return await super().put(bucket, key, data, content_type=content_type, if_match=if_match)

    async def put_if_absent(
        self, bucket: str, key: str, data: bytes, *, content_type: str = JSON_TYPE
    ) -> PutOutcome:
        """As ``ObjectStore.put_if_absent``."""
        if await self.find(bucket, key) is not None:
            return PutOutcome(created=False, etag="")
        return await super().put_if_absent(bucket, key, data, content_type=content_type)

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
        """As ``Multipart.complete_multipart``."""
        if await self.find(bucket, key) is not None:
            raise ObjectExists(f"s3://{bucket}/{key} exists already")
        return await super().complete_multipart(
            bucket,
            key,
            upload_id=upload_id,
            parts=parts,
            size_bytes=size_bytes,
            crc64nvme=crc64nvme,
        )
