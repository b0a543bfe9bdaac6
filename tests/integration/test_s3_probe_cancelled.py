"""A look at what a server can do that is broken off leaves nothing there."""

from __future__ import annotations

import asyncio

import pytest

from simcloud.errors import StorageError
from simcloud.s3.faults import Fault, FaultKind, plan_of, wrapping
from simcloud.s3.objects import ObjectStore, open_store
from simcloud.s3.probe import probe
from simcloud.s3.retrying import RetryPolicy
from support.s3_proxy import running_proxy
from support.s3_server import S3Server


async def assert_nothing_left(store: ObjectStore, bucket: str) -> None:
    assert [row async for row in store.list_keys(bucket, "")] == []
    assert [row async for row in store.list_uploads(bucket, "")] == []


@pytest.mark.parametrize("looks_before", [0, 1], ids=["its upload", "its second upload"])
async def test_cancelled_it_aborts_its_uploads_however_often_it_is_cancelled(
    s3_server: S3Server, store: ObjectStore, bucket: str, looks_before: int
) -> None:
    halfway = Fault("complete_multipart_upload", FaultKind.GATE, after=looks_before)
    abort = Fault("abort_multipart_upload", FaultKind.GATE)
    async with (
        running_proxy(s3_server.settings, plan=plan_of(halfway, abort)) as proxy,
        open_store(proxy.settings) as through,
    ):
        look = asyncio.ensure_future(probe(through, bucket, "team"))
        await halfway.reached.wait()
        look.cancel()
        async with asyncio.timeout(10):
            await abort.reached.wait()
        look.cancel()
        await asyncio.sleep(0)
        abort.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await look
        await assert_nothing_left(store, bucket)


@pytest.mark.parametrize("looks_before", [0, 1], ids=["its upload", "its second upload"])
async def test_cancelled_while_an_upload_is_created_it_aborts_that_too(
    s3_server: S3Server, store: ObjectStore, bucket: str, looks_before: int
) -> None:
    creating = Fault("create_multipart_upload", FaultKind.GATE_AFTER, after=looks_before)
    async with open_store(s3_server.settings, wrap=wrapping(plan_of(creating))) as faulty:
        look = asyncio.ensure_future(probe(faulty, bucket, "team"))
        await creating.done.wait()
        look.cancel()
        await asyncio.sleep(0)
        creating.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await look
    await assert_nothing_left(store, bucket)


async def test_failed_it_aborts_its_upload(
    s3_server: S3Server, store: ObjectStore, bucket: str
) -> None:
    broken = plan_of(Fault("upload_part", after=1))
    async with (
        running_proxy(s3_server.settings, plan=broken) as proxy,
        open_store(proxy.settings, retry=RetryPolicy(attempts=1)) as through,
    ):
        with pytest.raises(StorageError, match="SlowDown"):
            await probe(through, bucket, "team")
    await assert_nothing_left(store, bucket)
