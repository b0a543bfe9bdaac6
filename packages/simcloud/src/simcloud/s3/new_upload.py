"""A multipart upload from the request that creates it on: whatever comes, it can be aborted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from simcloud.concurrency.unbroken import Unbroken
from simcloud.s3.objects import ObjectStore


class NewUpload:
    """Creates an upload, at once; a cancel of who waits does not break that off.

    Who has no id can't abort, and S3 may have created what nobody waited for. Whoever makes one
    completes it, or awaits ``abort`` in a clean-up.
    """

    def __init__(
        self,
        store: ObjectStore,
        bucket: str,
        key: str,
        *,
        metadata: dict[str, str],
        content_type: str,
    ) -> None:
        self._store = store
        self._bucket = bucket
        self._key = key
        self.known_id = ""
        """Its id; empty as long as S3 has not said that it created it."""
        create = store.create_multipart(bucket, key, metadata=metadata, content_type=content_type)
        self._creation = Unbroken(self._created(create))

    async def _created(self, create: Awaitable[str]) -> str:
        self.known_id = await create
        return self.known_id

    async def id(self) -> str:
        """Its id.

        Raises:
            SimcloudError: S3 did not create it.
        """
        return await self._creation.result()

    async def abort(self, *, created_within_s: float) -> None:
        """Aborts it; nothing if S3 refused to create it.

        Args:
            created_within_s: how long S3 may still take to create it, seconds.

        Raises:
            SimcloudError: S3 did not abort it.
            TimeoutError: S3 did not answer in time whether it created it.
        """
        failed = await self._creation.ended(within_s=created_within_s)
        if isinstance(failed, asyncio.CancelledError):
            raise TimeoutError(f"its creation was not answered within {created_within_s:g} s")
        if failed is None:
            await self._store.abort_multipart(self._bucket, self._key, upload_id=self.known_id)
