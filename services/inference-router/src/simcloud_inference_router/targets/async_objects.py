"""What an asynchronous request leaves in S3, and its end."""

from __future__ import annotations

import asyncio
from typing import Final

from simcloud.concurrency.service import run_cleanup
from simcloud.concurrency.unbroken import Unbroken
from simcloud.errors import SimcloudError
from simcloud.s3.objects import ObjectStore
from simcloud.telemetry.logging import get_logger
from simcloud_inference_router.targets.async_places import S3Location

CLEAN_S: Final = 5.0
"""Seconds for a write that was given up, and again for deleting what a request left in S3; what
stays is for the bucket's lifecycle rule."""

_log = get_logger(__name__)


class RequestObjects:
    """Objects of one request. ``async with`` deletes them at its end, whatever becomes of it.

    Args:
        store: S3.
        target: name for the log.
    """

    def __init__(self, store: ObjectStore, *, target: str) -> None:
        self._store = store
        self._target = target
        self._writing: Unbroken[object] | None = None
        self._rubbish: list[S3Location] = []

    async def write(self, location: S3Location, body: bytes, *, content_type: str) -> None:
        """Writes the request's input; once.

        Raises:
            SimcloudError: what S3 said.
        """
        self._rubbish.append(location)
        put = self._store.put(location.bucket, location.key, body, content_type=content_type)
        self._writing = Unbroken(put)
        await self._writing.result()

    def done_with(self, location: S3Location) -> None:
        """Has another object deleted at the end."""
        self._rubbish.append(location)

    async def __aenter__(self) -> RequestObjects:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._rubbish:
            # A target's time-out and its caller's cancel come a moment apart: the second must not
            # stop what the first began.
            await run_cleanup(self._clean(), deadline_s=3 * CLEAN_S)

    async def _clean(self) -> None:
        if self._writing is not None:
            # S3 may have all of a write that was given up, and commit it after the deletion.
            await self._writing.ended(within_s=CLEAN_S)
        for location in self._rubbish:
            await self._delete(location)

    async def _delete(self, location: S3Location) -> None:
        try:
            async with asyncio.timeout(CLEAN_S):
                await self._store.delete_many(location.bucket, [location.key])
        except (SimcloudError, TimeoutError) as exc:
            _log.warning(
                "an asynchronous request's object was not deleted",
                target=self._target,
                bucket=location.bucket,
                key=location.key,
                problem=f"{type(exc).__name__}: {exc}",
            )
