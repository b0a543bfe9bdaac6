"""What an S3 server can do, found out by doing it: the commit protocol stands on five abilities."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass

from simcloud.concurrency.service import run_cleanup
from simcloud.errors import SimcloudError
from simcloud.s3 import checksums
from simcloud.s3.errors import BadDigest, ObjectChanged, ObjectExists, Refused
from simcloud.s3.multipart import Part
from simcloud.s3.new_upload import NewUpload
from simcloud.s3.objects import ObjectStore
from simcloud.s3.requests import PROBE_FOLDER

_DATA = b"Simcloud looks what this server can do; this object may be deleted.\n"
_CRC = checksums.crc64nvme(_DATA)
_TYPE = "text/plain"
_CLEAN_S = 10.0
"""How long a server may take to delete what was tried, seconds."""
_CREATED_S = 5.0
"""Of these: how long it may take to answer an upload's creation that nobody waits for any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a server was seen to do."""

    conditional_put: bool
    """PutObject honours ``If-None-Match: *``: of many who make an epoch, one wins."""
    conditional_replace: bool
    """PutObject honours ``If-Match``: a late write can't undo a later one."""
    conditional_complete: bool
    """CompleteMultipartUpload honours ``If-None-Match: *``: a committed tar is never replaced."""
    checks_parts: bool
    """A part whose bytes are not those of its CRC-64/NVME is refused."""
    keeps_checksums: bool
    """HEAD answers the CRC-64/NVME of a whole multipart object."""
    lists_parts: bool
    """ListParts: an upload can be gone on with by another process."""
    lists_uploads: bool
    """ListMultipartUploads: abandoned uploads can be found."""

    @property
    def all(self) -> bool:
        """Whether it can do all that AWS's S3 can."""
        return not (self.unconditional or self.unlisted) and self.verifies

    @property
    def verifies(self) -> bool:
        """Whether the server itself vouches for an object's bytes."""
        return self.checks_parts and self.keeps_checksums

    @property
    def unconditional(self) -> tuple[str, ...]:
        """What it does in spite of a condition, and what can't be promised then."""
        rows = (
            (
                self.conditional_put,
                "PutObject ignores If-None-Match: two writers can own one shard, and a run can be "
                "created twice",
            ),
            (
                self.conditional_replace,
                "PutObject ignores If-Match: a late write can take back parts promised durable",
            ),
            (
                self.conditional_complete,
                "CompleteMultipartUpload ignores If-None-Match: a writer that was thought dead can "
                "replace a committed shard",
            ),
        )
        return tuple(words for there, words in rows if not there)

    @property
    def unlisted(self) -> tuple[str, ...]:
        """What it can't list, and what that costs."""
        rows = (
            (self.lists_parts, "no ListParts: a shard whose uploader died can't be gone on with"),
            (self.lists_uploads, "no ListMultipartUploads: abandoned uploads stay, and are billed"),
        )
        return tuple(words for there, words in rows if not there)


@dataclass(frozen=True, slots=True)
class Writing:
    """How the uploader writes to such a server, or why it doesn't."""

    taken: bool
    """Whether runs can be written there with the settings as they are by default."""
    way: str
    """What is done, in words; or what is missing and what that costs."""
    mend: str
    """What to do about it, in a line; empty when nothing is lacking."""


def writing_to(found: Capabilities) -> Writing:
    """What follows for writing runs from what a server can do. Pure.

    Missing checksums are no reason to refuse it: the tar is then read back and compared before it
    is committed.
    """
    if found.unlisted:
        return Writing(
            taken=False, way="; ".join(found.unlisted), mend="use a server that has both"
        )
    if found.unconditional:
        return Writing(
            taken=False,
            way="; ".join(found.unconditional),
            mend="use a server with conditional writes, or set "
            "allow_unconditional_writes_single_writer if never two writers work on one run",
        )
    if not found.verifies:
        return Writing(
            taken=True,
            way="conditional writes; each tar is read back and compared before it is committed, "
            "since the server does not vouch for CRC-64/NVME",
            mend="a server that checks and keeps CRC-64/NVME saves the reading back",
        )
    return Writing(
        taken=True, way="conditional writes, the server's own CRC-64/NVME checks", mend=""
    )


async def probe(store: ObjectStore, bucket: str, prefix: str) -> Capabilities:
    """Looks what the server behind a bucket can do: a dozen requests, a few hundred bytes.

    It writes two objects below ``<prefix>/.simcloud-probe/`` and deletes them.

    Args:
        store: of the server; its settings' encryption, tags and so on are tried too.
        bucket: S3 bucket.
        prefix: key prefix without slashes at the ends; empty: the bucket's root.

    Raises:
        SimcloudError: the server can't be reached, or refuses to be tried: it says which call.
    """
    folder = f"{prefix}/{PROBE_FOLDER}" if prefix else PROBE_FOLDER
    small = f"{folder}/{secrets.token_hex(8)}"
    large = f"{small}.parts"
    uploads: list[NewUpload] = []
    """Of ``large``, neither completed nor aborted."""
    try:
        first = await store.put_if_absent(bucket, small, _DATA, content_type=_TYPE)
        again = await store.put_if_absent(bucket, small, _DATA, content_type=_TYPE)
        replaces = await _refuses_replacing(store, bucket, small)
        uploads.append(_create(store, bucket, large))
        upload_id = await uploads[0].id()
        lists_uploads = await _lists_uploads(store, bucket, large)
        checks = await _refuses_damage(store, bucket, large, upload_id)
        part = await _send(store, bucket, large, upload_id)
        lists_parts = await _lists_parts(store, bucket, large, upload_id)
        await _complete(store, bucket, large, upload_id, part)
        uploads.clear()
        info = await store.head(bucket, large)
        return Capabilities(
            conditional_put=first.created and not again.created,
            conditional_replace=replaces,
            conditional_complete=await _refuses_second(store, bucket, large, uploads),
            checks_parts=checks,
            keeps_checksums=info.crc64nvme == _CRC,
            lists_parts=lists_parts,
            lists_uploads=lists_uploads,
        )
    finally:
        # It may take too long, too: what stays is named for what it is.
        with suppress(TimeoutError):
            clean = _clean(store, bucket, small=small, large=large, uploads=uploads)
            await run_cleanup(clean, deadline_s=_CLEAN_S)


async def _clean(
    store: ObjectStore, bucket: str, *, small: str, large: str, uploads: list[NewUpload]
) -> None:
    # A role may lack the right to delete, or to abort.
    for upload in uploads:
        with suppress(SimcloudError, TimeoutError):
            await upload.abort(created_within_s=_CREATED_S)
    with suppress(SimcloudError):
        await store.delete_many(bucket, [small, large])


async def _refuses_replacing(store: ObjectStore, bucket: str, key: str) -> bool:
    try:
        await store.put(bucket, key, _DATA, content_type=_TYPE, if_match='"not-its-etag"')
    except ObjectChanged:
        return True
    return False


async def _refuses_damage(store: ObjectStore, bucket: str, key: str, upload_id: str) -> bool:
    try:
        await store.upload_part(
            bucket, key, upload_id=upload_id, number=1, data=_DATA, crc64nvme=_CRC ^ 1
        )
    except (BadDigest, Refused):
        return True
    return False


async def _refuses_second(
    store: ObjectStore, bucket: str, key: str, uploads: list[NewUpload]
) -> bool:
    uploads.append(_create(store, bucket, key))
    upload_id = await uploads[0].id()
    part = await _send(store, bucket, key, upload_id)
    try:
        await _complete(store, bucket, key, upload_id, part)
    except ObjectExists:
        await store.abort_multipart(bucket, key, upload_id=upload_id)
        refused = True
    else:
        refused = False
    uploads.clear()
    return refused


async def _lists_parts(store: ObjectStore, bucket: str, key: str, upload_id: str) -> bool:
    try:
        listed = await store.list_parts(bucket, key, upload_id=upload_id)
    except Refused:
        return False
    # SeaweedFS lists a part that was sent twice twice
    return {(part.number, part.size_bytes) for part in listed} == {(1, len(_DATA))}


async def _lists_uploads(store: ObjectStore, bucket: str, key: str) -> bool:
    try:
        return [row.key async for row in store.list_uploads(bucket, key)] == [key]
    except Refused:
        return False


def _create(store: ObjectStore, bucket: str, key: str) -> NewUpload:
    return NewUpload(store, bucket, key, metadata={}, content_type=_TYPE)


async def _send(store: ObjectStore, bucket: str, key: str, upload_id: str) -> Part:
    etag = await store.upload_part(
        bucket, key, upload_id=upload_id, number=1, data=_DATA, crc64nvme=_CRC
    )
    return Part(number=1, size_bytes=len(_DATA), etag=etag, crc64nvme=_CRC)


async def _complete(store: ObjectStore, bucket: str, key: str, upload_id: str, part: Part) -> None:
    await store.complete_multipart(
        bucket,
        key,
        upload_id=upload_id,
        parts=[part],
        size_bytes=part.size_bytes,
        crc64nvme=_CRC,
    )
