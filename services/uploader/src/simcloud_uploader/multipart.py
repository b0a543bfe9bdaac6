"""Parts to S3, and Complete with every answer it may give."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from simcloud.clock import Clock
from simcloud.concurrency import Backoff, RetryBudget
from simcloud.dataset.index import TarObject
from simcloud.dataset.layout import RunLocation
from simcloud.errors import Corruption, SimcloudError, StorageError
from simcloud.s3 import checksums
from simcloud.s3.answers import ObjectInfo
from simcloud.s3.errors import (
    BadDigest,
    ConditionalConflict,
    InvalidPart,
    NoSuchUpload,
    ObjectExists,
    SlowDown,
)
from simcloud.s3.multipart import Part as ListedPart
from simcloud.s3.objects import ObjectStore
from simcloud.telemetry import metrics
from simcloud_uploader.metrics import (
    BYTES_STORED,
    PART_RETRIES,
    PART_SECONDS,
    PARTS_STORED,
    RESOLVED,
)
from simcloud_uploader.parts import Part, StoredPart
from simcloud_uploader.slots import AdaptiveSlots

WRITER_METADATA = "simcloud-writer"
TAR_TYPE = "application/x-tar"


class UploadLost(Exception):
    """S3 has no such upload any more, or can't complete it: a new one must be begun."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One multipart upload of a shard's tar."""

    location: RunLocation
    shard: int
    upload_id: str
    writer: str
    """Value of its metadata: tells our object from another's."""

    @property
    def key(self) -> str:
        """Of the tar."""
        return self.location.shard_key(self.shard)


class PartUploader:
    """Sends parts: as many at once as S3 bears, each tried again within the retry budget."""

    def __init__(
        self, store: ObjectStore, *, slots: AdaptiveSlots, clock: Clock, attempts: int
    ) -> None:
        """Makes the uploader of a process.

        Args:
            store: one that does not retry by itself: what S3 says must reach ``slots``.
            slots: shared by all streams.
            clock: of the retry budget.
            attempts: tries of one part.
        """
        self._store = store
        self._slots = slots
        self._attempts = attempts
        self._backoff = Backoff(base_s=0.1, cap_s=10.0)
        self._budget = RetryBudget(clock)
        self._rng = random.Random()  # noqa: S311 - jitter is no secret

    async def upload(self, upload: Upload, part: Part) -> StoredPart:
        """Sends a part.

        Raises:
            UploadLost: S3 does not know the upload.
            StorageError: S3 failed beyond the retries.
        """
        self._budget.record_request()
        attempt = 0
        while True:
            try:
                async with self._slots.take():
                    try:
                        return await self._once(upload, part)
                    except SlowDown:
                        # Before the slot is free: who waits for it must not slip in.
                        self._slots.slow_down()
                        raise
            except NoSuchUpload as error:
                raise UploadLost("NoSuchUpload") from error
            except (StorageError, BadDigest) as error:
                attempt += 1
                if attempt >= self._attempts or not self._budget.try_spend():
                    raise
                metrics.counter(PART_RETRIES).labels(error.reason).inc()
                after = error.retry_after_s if isinstance(error, StorageError) else None
                await asyncio.sleep(
                    self._backoff.delay_s(attempt - 1, self._rng, retry_after_s=after)
                )

    async def _once(self, upload: Upload, part: Part) -> StoredPart:
        began = time.perf_counter()
        etag = await self._store.upload_part(
            upload.location.bucket,
            upload.key,
            upload_id=upload.upload_id,
            number=part.number,
            data=part.data,
            crc64nvme=part.crc64nvme,
        )
        self._slots.succeeded()
        metrics.histogram(PART_SECONDS).observe(time.perf_counter() - began)
        metrics.counter(PARTS_STORED).inc()
        metrics.counter(BYTES_STORED).inc(len(part.data))
        return StoredPart(
            number=part.number,
            size_bytes=len(part.data),
            etag=etag,
            crc64nvme=part.crc64nvme,
            end_frame=part.end_frame,
        )


class Verdict(StrEnum):
    """What a Complete without a clear answer has come to."""

    OURS = "ours"
    ANOTHERS = "anothers"
    AGAIN = "again"
    LOST = "lost"


def judge(
    error: SimcloudError, found: ObjectInfo | None, *, writer: str, size_bytes: int, crc64nvme: int
) -> Verdict:
    """What to do after Complete failed with ``error``. Pure.

    Args:
        error: what Complete answered.
        found: the object under the key afterwards, None when there is none.
        writer: our metadata.
        size_bytes: size of our object.
        crc64nvme: CRC of our object; with the size its identity, never the ETag.
    """
    if found is not None:
        ours = (found.metadata.get(WRITER_METADATA), found.size_bytes, found.crc64nvme)
        return Verdict.OURS if ours == (writer, size_bytes, crc64nvme) else Verdict.ANOTHERS
    if isinstance(error, ConditionalConflict | InvalidPart | NoSuchUpload | BadDigest):
        return Verdict.LOST
    # No answer, 5xx, an error within a 200; 412 for an object that has vanished since.
    return Verdict.AGAIN


class Completer:
    """Makes the object of an upload's parts, once, whatever S3 answers."""

    def __init__(self, store: ObjectStore, *, attempts: int = 8) -> None:
        self._store = store
        self._attempts = attempts
        self._backoff = Backoff(base_s=0.1, cap_s=5.0)
        self._rng = random.Random()  # noqa: S311 - jitter is no secret

    async def complete(
        self,
        upload: Upload,
        parts: Sequence[StoredPart],
        *,
        fence: Callable[[], Awaitable[None]],
    ) -> TarObject:
        """Completes an upload, or adopts what another writer made in the meantime.

        Args:
            upload: the upload.
            parts: all of them.
            fence: raises Conflict when the shard is not ours any more; called before each try.

        Raises:
            UploadLost: it must be begun again.
            StorageError: S3 failed beyond the retries; whether the object is there is unknown, and
                whoever opens the shard next finds out.
        """
        size_bytes = sum(part.size_bytes for part in parts)
        crc = 0
        for part in parts:
            crc = checksums.combine(crc, part.crc64nvme, part.size_bytes)
        attempt = 0
        while True:
            await fence()
            error = await self._try(upload, parts, size_bytes=size_bytes, crc=crc)
            found = await self._found(upload, size_bytes=size_bytes, crc=crc)
            if error is None:
                return _checked(upload, found, size_bytes=size_bytes, crc=crc)
            verdict = judge(
                error, found, writer=upload.writer, size_bytes=size_bytes, crc64nvme=crc
            )
            metrics.counter(RESOLVED).labels(verdict.value).inc()
            match verdict:
                case Verdict.OURS:
                    return _checked(upload, found, size_bytes=size_bytes, crc=crc)
                case Verdict.ANOTHERS:
                    assert found is not None
                    await self.abort(upload)
                    return TarObject.of(upload.shard, found)
                case Verdict.LOST:
                    raise UploadLost(error.reason) from error
                case Verdict.AGAIN:
                    attempt += 1
                    if attempt >= self._attempts:
                        raise error
            await asyncio.sleep(self._backoff.delay_s(attempt - 1, self._rng))

    async def abort(self, upload: Upload) -> None:
        """Drops an upload; one that is gone already is fine."""
        await self._store.abort_multipart(
            upload.location.bucket, upload.key, upload_id=upload.upload_id
        )

    async def _found(self, upload: Upload, *, size_bytes: int, crc: int) -> ObjectInfo | None:
        """What is under the key, with its CRC; read back where the server keeps none.

        Raises:
            UploadLost: what was read back is ours and damaged; it is deleted, since an index must
                never be made from it.
        """
        bucket = upload.location.bucket
        info = await self._store.find(bucket, upload.key)
        if info is None or info.crc64nvme is not None:
            return info
        info = await self._store.with_crc(bucket, info)
        ours = info.metadata.get(WRITER_METADATA) == upload.writer
        if ours and (info.size_bytes, info.crc64nvme) != (size_bytes, crc):
            await self._store.delete_many(bucket, [upload.key])
            raise UploadLost("READ_BACK")
        return info

    async def _try(
        self, upload: Upload, parts: Sequence[StoredPart], *, size_bytes: int, crc: int
    ) -> SimcloudError | None:
        try:
            await self._store.complete_multipart(
                upload.location.bucket,
                upload.key,
                upload_id=upload.upload_id,
                parts=[
                    ListedPart(
                        number=part.number,
                        size_bytes=part.size_bytes,
                        etag=part.etag,
                        crc64nvme=part.crc64nvme,
                    )
                    for part in parts
                ],
                size_bytes=size_bytes,
                crc64nvme=crc,
            )
        except (
            StorageError,
            ObjectExists,
            ConditionalConflict,
            InvalidPart,
            NoSuchUpload,
            BadDigest,
        ) as error:
            return error
        return None


def _checked(upload: Upload, found: ObjectInfo | None, *, size_bytes: int, crc: int) -> TarObject:
    if found is None:
        raise StorageError(f"{upload.key} was completed and can't be found; open the shard again")
    if (found.size_bytes, found.crc64nvme) != (size_bytes, crc):
        raise Corruption(
            f"{upload.key} has {found.size_bytes} bytes of CRC {found.crc64nvme}, completed were "
            f"{size_bytes} of {crc}"
        )
    return TarObject.of(upload.shard, found)
