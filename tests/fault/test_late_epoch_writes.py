"""An owner that counted as dead and was not: what S3 held up of it lands while it is taken over.

As after an S3 server's restart, when every epoch is as old as the outage was long, and the owner's
last write is tried again while another replica is at the door.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace

import pytest

from simcloud.dataset.layout import RunLocation
from simcloud.errors import Conflict
from simcloud.s3.faults import Fault, FaultKind, plan_of, wrapping
from simcloud.s3.objects import ObjectStore, open_store
from simcloud_uploader.claiming import claim
from simcloud_uploader.epochs import Epoch
from simcloud_uploader.ownership import Applicant, Ownership, ShardTaken, newest_epoch
from simcloud_uploader.parts import StoredPart
from support.dataset_frames import FINGERPRINT, SPEC_DIGEST
from support.eventually import eventually
from support.s3_server import S3Server

PART = StoredPart(number=1, size_bytes=5 << 20, etag='"one"', crc64nvme=1, end_frame=2)


@pytest.fixture
def location(bucket: str) -> RunLocation:
    return RunLocation(bucket=bucket, prefix="late", run="run")


async def claimed(store: ObjectStore, location: RunLocation, name: str) -> Ownership:
    """Owns shard 0 as soon as its owner counts as dead."""
    applicant = Applicant(
        location=location,
        shard=0,
        first_frame=0,
        instance=name,
        writer=name,
        spec_digest=SPEC_DIGEST,
        fingerprint=FINGERPRINT,
        allow_mixed_fingerprints=False,
        part_size_bytes=5 << 20,
    )

    async def tried() -> Ownership | None:
        try:
            return await claim(store, applicant, stale_after_s=0.5)
        except Conflict:
            return None

    ownership = await eventually(tried, what="the owner counts as dead")
    assert ownership is not None
    return ownership


def with_part(ownership: Ownership) -> Epoch:
    return replace(ownership.document, parts=(PART,))


async def test_a_write_that_lands_after_it_was_taken_over_promises_nothing(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    held = Fault("put_object", FaultKind.GATE, key="*/0001.json", after=1)
    async with (
        open_store(s3_server.settings, wrap=wrapping(plan_of(held))) as slow,
        asyncio.TaskGroup() as tasks,
    ):
        owner = await claimed(slow, location, "owner")
        writing = tasks.create_task(_error_of(owner.write(with_part(owner))))
        await held.reached.wait()
        heir = await claimed(store, location, "heir")
        held.gate.set()
        # It would else tell its client that frames are durable which the heir makes again.
        assert isinstance(await writing, ShardTaken)
    assert heir.document.next_frame == 0


async def test_what_was_promised_before_a_takeover_is_known_to_who_took_over(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    held = Fault("put_object", FaultKind.GATE, key="*/0002.json")
    async with (
        open_store(s3_server.settings, wrap=wrapping(plan_of(held))) as slow,
        asyncio.TaskGroup() as tasks,
    ):
        owner = await claimed(store, location, "owner")
        taking_over = tasks.create_task(claimed(slow, location, "heir"))
        # The heir has read the epoch of an owner that counts as dead; now it writes after all.
        await held.reached.wait()
        await owner.write(with_part(owner))
        held.gate.set()
        heir = await taking_over
    assert heir.document.parts == (PART,)
    seen = await newest_epoch(store, location, 0)
    assert seen is not None
    assert (seen.document.epoch, seen.document.next_frame) == (2, PART.end_frame)


async def _error_of(work: Awaitable[None]) -> Conflict | None:
    try:
        await work
    except Conflict as error:
        return error
    return None
