"""Frame refs to bytes: allow-listed, sized before they are read, by ranged GETs."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

from simcloud.clock import Clock
from simcloud.concurrency.budget import ByteBudget
from simcloud.concurrency.retry import Backoff
from simcloud.dataset.fetch import Span
from simcloud.dataset.frames import FrameRef
from simcloud.errors import DeadlineExceeded, SimcloudError, StorageError
from simcloud.s3.ranges import read_range
from simcloud_inference_router.background import Background
from simcloud_inference_router.refs.cache import ObjectName, Range
from simcloud_inference_router.refs.reads import RangeReads
from simcloud_inference_router.refs.settings import RefSettings

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

READ_ATTEMPTS = 3
"""GETs for one range, the first included; a read changes nothing, so repeating it is safe."""


class FrameSource:
    """Reads the pictures that frame refs point at.

    How many bytes are read at once is bounded by whoever calls (the router's payload budget), and
    so is who may read them: nothing here knows callers.

    Args:
        client: S3; its own retries are off.
        settings: what is read together, and what is kept.
        memory: that budget; what is read beside the refs' own bytes has its room there.
        background: where GETs run.
        clock: for deadlines.
        backoff: pause between attempts.
        random: where its jitter comes from.
        expected_bucket_owner: AWS account that must own the buckets; empty: any.
    """

    def __init__(
        self,
        client: S3Client,
        *,
        settings: RefSettings,
        memory: ByteBudget,
        background: Background,
        clock: Clock,
        backoff: Backoff,
        random: Random,
        expected_bucket_owner: str = "",
    ) -> None:
        self._client = client
        self._clock = clock
        self._backoff = backoff
        self._random = random
        self._owner = expected_bucket_owner
        self.reads = RangeReads(
            self._fetch, settings=settings, memory=memory, background=background
        )

    async def read(self, ref: FrameRef, *, deadline: float | None) -> bytes:
        """The ref's bytes.

        Raises:
            NotFound: no such bucket or object.
            PreconditionFailed: the object is not the one of the ref's ETag any more.
            PermissionDenied: S3 refused.
            StorageError: S3 failed, several times.
            DeadlineExceeded: not in time.
        """
        try:
            async with asyncio.timeout(self._left_s(deadline)):
                return await self.reads.read(
                    ObjectName(ref.bucket, ref.key, ref.etag),
                    Range(ref.offset, ref.offset + ref.length),
                )
        except TimeoutError:
            message = f"the deadline passed while s3://{ref.bucket}/{ref.key} was read"
            raise DeadlineExceeded(message, bucket=ref.bucket, key=ref.key) from None

    async def _fetch(self, name: ObjectName, span: Span) -> bytes:
        attempt = 0
        while True:
            try:
                return await read_range(
                    self._client,
                    bucket=name.bucket,
                    key=name.key,
                    offset=span.begin,
                    length=span.end - span.begin,
                    etag=name.etag,
                    expected_bucket_owner=self._owner,
                )
            except StorageError as exc:
                attempt += 1
                if attempt >= READ_ATTEMPTS or not _worth_another(exc):
                    raise
                pause_s = self._backoff.delay_s(
                    attempt - 1, self._random, retry_after_s=exc.retry_after_s
                )
            await asyncio.sleep(pause_s)

    def _left_s(self, deadline: float | None) -> float | None:
        return None if deadline is None else deadline - self._clock.monotonic()


def _worth_another(error: SimcloudError) -> bool:
    return error.retryable
