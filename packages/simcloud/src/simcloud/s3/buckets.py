"""S3's calls on a bucket: whether it is there, what it holds, and deleting many of that at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from simcloud.errors import StorageError
from simcloud.s3.calls import Calls
from simcloud.s3.errors import ConditionalConflict, Refused, translating

DELETE_BATCH = 1000
"""Keys of one DeleteObjects."""


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One row of a listing."""

    key: str
    size_bytes: int
    etag: str
    last_modified: datetime


class Buckets(Calls):
    """The calls on buckets."""

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


def _delete_error(row: dict[str, str]) -> StorageError:
    return StorageError(
        f"DeleteObjects: {row.get('Key', '')} could not be deleted: {row.get('Code', '')} "
        f"{row.get('Message', '')}",
        s3_code=row.get("Code", ""),
    )
