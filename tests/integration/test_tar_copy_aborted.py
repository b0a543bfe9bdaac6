"""A tar's copy that ends early, on a real S3 server: its upload is aborted, whatever else comes."""

from __future__ import annotations

import asyncio

import pytest

from simcloud.dataset.layout import RunLocation
from simcloud.dataset.tarcopy import Place, TarCopier
from simcloud.s3.client import S3Client
from simcloud.s3.errors import AccessDenied
from simcloud.s3.faults import Fault, FaultKind, inject, plan_of, wrapping
from simcloud.s3.objects import ObjectStore, open_store
from simcloud.spec.plan import Plan
from support.dataset_frames import put_shard
from support.s3_server import S3Server

SHARD = Plan(frames=1, frames_per_shard=1).shard(0)
_TURNS = 20
"""Of the event loop: more than a cancelled task takes to end when nothing holds it."""


@pytest.fixture
async def source(store: ObjectStore, location: RunLocation) -> Place:
    """A run with one shard."""
    await put_shard(store, location, SHARD)
    return Place(store, location)


@pytest.fixture
def destination(bucket: str) -> RunLocation:
    return RunLocation(bucket=bucket, prefix="to", run="run")


def refused() -> Fault:
    return Fault("complete_multipart_upload", code="AccessDenied", status=403)


async def uploads(store: ObjectStore, location: RunLocation) -> int:
    return len([row async for row in store.list_uploads(location.bucket, location.root)])


async def test_a_cancel_does_not_interrupt_the_abort(
    s3_server: S3Server, store: ObjectStore, source: Place, destination: RunLocation
) -> None:
    abort = Fault("abort_multipart_upload", FaultKind.GATE)
    plan = plan_of(refused(), abort)
    async with open_store(s3_server.settings, wrap=wrapping(plan)) as faulty:
        copying = asyncio.ensure_future(TarCopier(source, Place(faulty, destination)).copy(0))
        await abort.reached.wait()
        copying.cancel()
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        assert not copying.done()
        abort.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await copying
    assert await uploads(store, destination) == 0


async def test_a_cancelled_copy_waits_for_its_abort_no_longer_than_it_says(
    s3_server: S3Server, store: ObjectStore, source: Place, destination: RunLocation
) -> None:
    part = Fault("upload_part", FaultKind.GATE)
    abort = Fault("abort_multipart_upload", FaultKind.GATE)
    async with open_store(s3_server.settings, wrap=wrapping(plan_of(part, abort))) as faulty:
        copier = TarCopier(source, Place(faulty, destination), abort_within_s=0.01)
        copying = asyncio.ensure_future(copier.copy(0))
        await part.reached.wait()
        copying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copying
    assert abort.hits == 1
    assert await uploads(store, destination) == 1


async def test_a_copy_that_is_cancelled_while_its_upload_is_created_aborts_that(
    s3_server: S3Server, store: ObjectStore, source: Place, destination: RunLocation
) -> None:
    creating = Fault("create_multipart_upload", FaultKind.GATE_AFTER)
    async with open_store(s3_server.settings, wrap=wrapping(plan_of(creating))) as faulty:
        copying = asyncio.ensure_future(TarCopier(source, Place(faulty, destination)).copy(0))
        await creating.done.wait()
        copying.cancel()
        await asyncio.sleep(0)
        creating.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await copying
    assert await uploads(store, destination) == 0


async def test_a_copy_whose_upload_is_not_said_to_be_created_tells_that_one_may_stay_open(
    s3_server: S3Server,
    source: Place,
    destination: RunLocation,
    capsys: pytest.CaptureFixture[str],
) -> None:
    creating = Fault("create_multipart_upload", FaultKind.GATE_AFTER)
    async with open_store(s3_server.settings, wrap=wrapping(plan_of(creating))) as faulty:
        copier = TarCopier(source, Place(faulty, destination), abort_within_s=0.01)
        copying = asyncio.ensure_future(copier.copy(0))
        await creating.done.wait()
        copying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copying
    assert "an upload stays open" in capsys.readouterr().err


async def test_an_abort_that_fails_does_not_stand_in_for_what_ended_the_copy(
    s3_server: S3Server, source: Place, destination: RunLocation
) -> None:
    abort = Fault("abort_multipart_upload", code="InvalidRequest", status=400)
    plan = plan_of(refused(), abort)
    async with open_store(s3_server.settings, wrap=wrapping(plan)) as faulty:
        with pytest.raises(AccessDenied, match="CompleteMultipartUpload"):
            await TarCopier(source, Place(faulty, destination)).copy(0)
    assert not plan.unspent()


async def test_an_upload_that_stays_open_is_told_though_another_cancel_came(
    s3_server: S3Server,
    source: Place,
    destination: RunLocation,
    capsys: pytest.CaptureFixture[str],
) -> None:
    part = Fault("upload_part", FaultKind.GATE)
    abort = Fault("abort_multipart_upload", FaultKind.GATE)
    denied = Fault("abort_multipart_upload", code="AccessDenied", status=403)

    def wrap(client: S3Client) -> S3Client:
        return inject(inject(client, plan_of(denied)), plan_of(part, abort))

    async with open_store(s3_server.settings, wrap=wrap) as faulty:
        copying = asyncio.ensure_future(TarCopier(source, Place(faulty, destination)).copy(0))
        await part.reached.wait()
        copying.cancel()
        await abort.reached.wait()
        copying.cancel()
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        abort.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await copying
    told = capsys.readouterr().err
    assert told.count("an upload stays open") == 1
    assert destination.shard_key(0) in told
