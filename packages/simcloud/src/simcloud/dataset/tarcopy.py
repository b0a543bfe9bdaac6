"""A shard's tar copied to another place: by the server itself, or through this process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from simcloud.concurrency import run_cleanup
from simcloud.dataset.index import TarObject, load_shard_record
from simcloud.dataset.layout import RunLocation
from simcloud.errors import Corruption, SimcloudError
from simcloud.s3 import checksums
from simcloud.s3.answers import ObjectInfo
from simcloud.s3.client import S3Settings
from simcloud.s3.copying import (
    CAN_NOT_COPY,
    COPY_PART_BYTES,
    MIN_RANGE_BYTES,
    CopySource,
    PartCopier,
    same_server,
)
from simcloud.s3.errors import NoAnswer, NoSuchKey, ObjectExists, ServerFailed
from simcloud.s3.multipart import Part
from simcloud.s3.new_upload import NewUpload
from simcloud.s3.objects import ObjectStore
from simcloud.telemetry.logging import get_logger

PART_BYTES = 16 << 20
"""Of a tar that comes through this process; larger tars get larger parts."""
_MAX_PARTS = 10_000
_ABORT_WITHIN_S = 10.0
"""All its tries together: who waits for it has failed already, or was told to stop."""
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """A run at one endpoint."""

    store: ObjectStore
    location: RunLocation
    settings: S3Settings | None = None
    """Of the store. Two places whose settings say that they are one S3 are copied between by it;
    None: through this process."""


class TarCopier:
    """Copies the tars of one run; an unfinished upload is aborted, never completed.

    Args:
        source: read only.
        destination: where each tar is made, if there is none.
        copy_part_bytes: of a part that the server copies.
        abort_within_s: longest time for S3 to abort an upload; then it is left to the bucket's
            lifecycle rule.
    """

    def __init__(
        self,
        source: Place,
        destination: Place,
        *,
        copy_part_bytes: int = COPY_PART_BYTES,
        abort_within_s: float = _ABORT_WITHIN_S,
    ) -> None:
        self._source = source
        self._destination = destination
        self._copier = PartCopier(destination.store)
        self._copy_part_bytes = copy_part_bytes
        self._abort_within_s = abort_within_s
        self.by_server = (
            source.settings is not None
            and destination.settings is not None
            and same_server(source.settings, destination.settings)
        )
        """Whether the server copies; found out to be False when it says that it can't."""

    async def copy(self, shard: int) -> bool:
        """Copies a tar; False when it was there.

        A tar without index is not committed data and is not copied. Cancelling it aborts the
        upload first.

        Raises:
            Corruption: the tar is not the one of its index, or another one is at the destination.
            SimcloudError: S3 failed.
        """
        source, destination = self._source, self._destination
        try:
            record = await load_shard_record(source.store, source.location, shard)
        except NoSuchKey as error:
            raise Corruption(
                f"shard {shard} of {source.location} has a tar and no index: mend it with "
                "`simcloud verify --repair`, then repeat"
            ) from error
        bucket, key = destination.location.bucket, destination.location.shard_key(shard)
        found = await destination.store.find(bucket, key)
        if found is not None:
            await _check_same(destination, found, record.tar)
            return False
        info = await source.store.head(source.location.bucket, source.location.shard_key(shard))
        upload = NewUpload(
            destination.store, bucket, key, metadata=info.metadata, content_type="application/x-tar"
        )
        try:
            upload_id = await upload.id()
            parts = await self._parts(shard, record.tar, upload_id)
            return await _complete(destination, shard, record.tar, upload_id, parts)
        except BaseException:
            await self._abort(key, upload)
            raise

    async def _abort(self, key: str, upload: NewUpload) -> None:
        """Aborts an upload; where that fails, it is logged: what ended the copy says more."""
        abort = upload.abort(created_within_s=self._abort_within_s / 2)
        failed: BaseException | None = None
        try:
            await run_cleanup(abort, deadline_s=self._abort_within_s)
        except asyncio.CancelledError as cancelled:
            # Another cancel came meanwhile, and hides what failed.
            failed = cancelled.__cause__
            raise
        except (SimcloudError, TimeoutError) as error:
            failed = error
        finally:
            if failed is not None:
                _log.warning(
                    "an upload stays open",
                    bucket=self._destination.location.bucket,
                    key=key,
                    upload=upload.known_id,
                    problem=repr(failed),
                )

    async def _parts(self, shard: int, tar: TarObject, upload_id: str) -> list[Part]:
        if self.by_server:
            try:
                return await self._copied_parts(shard, tar, upload_id)
            except CAN_NOT_COPY as error:
                self.by_server = False
                _log.info("the server does not copy", problem=error.message)
        return await self._sent_parts(shard, tar, upload_id)

    async def _copied_parts(self, shard: int, tar: TarObject, upload_id: str) -> list[Part]:
        settings = self._source.settings
        assert settings is not None  # else nothing is known to be one S3
        step = _step(tar, self._copy_part_bytes)
        if tar.size_bytes <= MIN_RANGE_BYTES:
            step = tar.size_bytes
        parts: list[Part] = []
        for start in range(0, tar.size_bytes, step):
            length = min(step, tar.size_bytes - start)
            part = await self._copier.copy(
                CopySource(
                    bucket=self._source.location.bucket,
                    key=self._source.location.shard_key(shard),
                    etag=tar.etag,
                    start=start,
                    length=length,
                    whole=length == tar.size_bytes,
                    owner=settings.expected_bucket_owner,
                    requester_pays=settings.requester_pays,
                ),
                bucket=self._destination.location.bucket,
                key=self._destination.location.shard_key(shard),
                upload_id=upload_id,
                number=len(parts) + 1,
            )
            parts.append(part)
        crcs = [part.crc64nvme for part in parts]
        if None not in crcs:
            self._check_sum(shard, tar, parts)
        return parts

    async def _sent_parts(self, shard: int, tar: TarObject, upload_id: str) -> list[Part]:
        """At most one part is in memory a shard."""
        source, destination = self._source, self._destination
        parts: list[Part] = []
        step = _step(tar, PART_BYTES)
        for start in range(0, tar.size_bytes, step):
            length = min(step, tar.size_bytes - start)
            body = await source.store.get(
                source.location.bucket,
                source.location.shard_key(shard),
                start=start,
                length=length,
                if_match=tar.etag,
            )
            part = Part(
                number=len(parts) + 1,
                size_bytes=length,
                etag="",
                crc64nvme=checksums.crc64nvme(body.data),
            )
            etag = await destination.store.upload_part(
                destination.location.bucket,
                destination.location.shard_key(shard),
                upload_id=upload_id,
                number=part.number,
                data=body.data,
                crc64nvme=checksums.crc64nvme(body.data),
            )
            parts.append(replace(part, etag=etag))
        self._check_sum(shard, tar, parts)
        return parts

    def _check_sum(self, shard: int, tar: TarObject, parts: list[Part]) -> None:
        whole = 0
        for part in parts:
            assert part.crc64nvme is not None
            whole = checksums.combine(whole, part.crc64nvme, part.size_bytes)
        if whole != tar.crc64nvme:
            raise Corruption(
                f"shard {shard} of {self._source.location}: the tar has CRC "
                f"{checksums.to_hex(whole)}, its index says {checksums.to_hex(tar.crc64nvme)}: "
                "`simcloud verify --deep` tells more"
            )


def _step(tar: TarObject, wanted: int) -> int:
    return max(wanted, -(-tar.size_bytes // _MAX_PARTS))


async def _complete(
    destination: Place, shard: int, tar: TarObject, upload_id: str, parts: list[Part]
) -> bool:
    """Completes the copy; False when another mirror was quicker."""
    store, bucket = destination.store, destination.location.bucket
    key = destination.location.shard_key(shard)
    created = True
    try:
        await store.complete_multipart(
            bucket,
            key,
            upload_id=upload_id,
            parts=parts,
            size_bytes=tar.size_bytes,
            crc64nvme=tar.crc64nvme,
        )
    except ObjectExists:
        created = False
        await store.abort_multipart(bucket, key, upload_id=upload_id)
    except (ServerFailed, NoAnswer):
        # Whether it was done is unknown: the object itself says.
        if await store.find(bucket, key) is None:
            raise
    await _check_same(destination, await store.head(bucket, key), tar)
    return created


async def _check_same(destination: Place, found: ObjectInfo, tar: TarObject) -> None:
    info = await destination.store.with_crc(destination.location.bucket, found)
    if (info.size_bytes, info.crc64nvme) != (tar.size_bytes, tar.crc64nvme):
        raise Corruption(
            f"s3://{destination.location.bucket}/{info.key} is there and is not the source's: "
            f"{info.size_bytes} bytes for {tar.size_bytes}; delete it and repeat"
        )
