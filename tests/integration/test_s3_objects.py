"""The typed S3 operations on a real server, and through faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from simcloud.concurrency.retry import Backoff
from simcloud.errors import Corruption
from simcloud.s3 import checksums
from simcloud.s3.errors import (
    BadCredentials,
    NoAnswer,
    NoSuchBucket,
    NoSuchKey,
    ObjectChanged,
    RangeBeyondEnd,
    SlowDown,
)
from simcloud.s3.faults import Fault, FaultKind, FaultPlan, plan_of, wrapping
from simcloud.s3.objects import ObjectStore, open_store
from simcloud.s3.retrying import RetryPolicy, for_each
from support.s3_proxy import running_proxy
from support.s3_server import S3Server

QUICK = RetryPolicy(attempts=4, backoff=Backoff(base_s=0.001, cap_s=0.002))


@asynccontextmanager
async def faulty(server: S3Server, plan: FaultPlan) -> AsyncIterator[ObjectStore]:
    async with open_store(server.settings, retry=QUICK, wrap=wrapping(plan)) as opened:
        yield opened


async def test_an_object_comes_back_with_its_crc_metadata_and_s3s_date(
    store: ObjectStore, bucket: str
) -> None:
    data = bytes(range(256)) * 40
    etag = await store.put(bucket, "a/b", data, content_type="text/plain")
    body = await store.get(bucket, "a/b")
    assert body.data == data
    assert body.info == await store.head(bucket, "a/b") or body.info.etag == etag
    assert body.info.crc64nvme == checksums.crc64nvme(data)
    assert body.info.size_bytes == len(data)
    assert abs((body.info.date - body.info.last_modified).total_seconds()) < 60


async def test_ranges_and_tails_are_exact(store: ObjectStore, bucket: str) -> None:
    await store.put(bucket, "k", b"0123456789")
    assert (await store.get(bucket, "k", start=3, length=4)).data == b"3456"
    assert (await store.get(bucket, "k", start=7)).data == b"789"
    tail = await store.get_tail(bucket, "k", 3)
    assert (tail.data, tail.info.size_bytes) == (b"789", 10)
    assert (await store.get_tail(bucket, "k", 99)).data == b"0123456789"


async def test_a_range_beyond_the_end_is_corruption(store: ObjectStore, bucket: str) -> None:
    await store.put(bucket, "k", b"0123456789")
    with pytest.raises(RangeBeyondEnd):
        await store.get(bucket, "k", start=10, length=1)
    with pytest.raises(Corruption, match="5 bytes came of the 6"):
        await store.get(bucket, "k", start=5, length=6)


@pytest.mark.parametrize(
    "call",
    [
        lambda store, bucket: store.get(bucket, "none"),
        lambda store, bucket: store.head(bucket, "none"),
        lambda store, bucket: store.get_json(bucket, "none"),
    ],
)
async def test_an_absent_object_is_no_such_key(
    store: ObjectStore, bucket: str, call: Callable[[ObjectStore, str], Awaitable[object]]
) -> None:
    with pytest.raises(NoSuchKey):
        await call(store, bucket)
    assert await store.find(bucket, "none") is None


async def test_an_absent_bucket_says_what_to_do(store: ObjectStore) -> None:
    for call in (store.get("not-there", "k"), store.check_bucket("not-there")):
        with pytest.raises(NoSuchBucket, match="'not-there' does not exist: create it, or check"):
            await call
    with pytest.raises(NoSuchBucket):
        await store.put("not-there", "k", b"1")


async def test_a_wrong_secret_is_bad_credentials(s3_server: S3Server, bucket: str) -> None:
    wrong = s3_server.settings.model_copy(update={"secret_access_key": SecretStr("wrong")})
    async with open_store(wrong) as other:
        with pytest.raises(BadCredentials, match="check the access key") as caught:
            await other.put(bucket, "k", b"1")
    assert caught.value.s3_code == "SignatureDoesNotMatch"
    assert caught.value.http_status == 403
    assert caught.value.request_id


async def test_of_many_writers_one_creates(store: ObjectStore, bucket: str) -> None:
    async def put(number: int) -> bool:
        return (await store.put_if_absent(bucket, "epoch", str(number).encode())).created

    created = await for_each(range(8), put, limit=8)
    assert sum(created) == 1
    assert (await store.get(bucket, "epoch")).data == str(created.index(True)).encode()


async def test_a_lost_answer_to_a_conditional_put_is_known_to_be_ours(
    s3_server: S3Server, bucket: str
) -> None:
    plan = plan_of(Fault("put_object", FaultKind.LOST_ANSWER))
    async with faulty(s3_server, plan) as store:
        outcome = await store.put_if_absent(bucket, "k", b"mine")
        assert outcome.created
        assert outcome.etag == (await store.head(bucket, "k")).etag
    assert plan.count("put_object") == 2
    assert not plan.unspent()


async def test_a_conditional_put_that_the_http_client_repeats_by_itself_is_ours(
    s3_server: S3Server, bucket: str
) -> None:
    """An answer lost on the wire: the repeated request finds our own object."""
    lost = [Fault("put_object", FaultKind.LOST_ANSWER), Fault("put_object", FaultKind.LOST_ANSWER)]
    lost[1].after = 1
    async with (
        running_proxy(s3_server.settings, plan=plan_of(*lost)) as proxy,
        open_store(proxy.settings, retry=QUICK) as store,
    ):
        outcome = await store.put_if_absent(bucket, "k", b"1")
        assert outcome.created
        second = await store.put(bucket, "k", b"2", if_match=outcome.etag)
        assert (await store.head(bucket, "k")).etag == second
        assert not proxy.plan.unspent()


async def test_another_writer_between_a_failed_try_and_the_next_is_not_taken_for_us(
    s3_server: S3Server, store: ObjectStore, bucket: str
) -> None:
    fault = Fault("put_object", FaultKind.UNREACHABLE)
    gate = Fault("put_object", FaultKind.GATE)
    async with faulty(s3_server, plan_of(fault, gate)) as slow, asyncio.TaskGroup() as group:
        ours = group.create_task(slow.put_if_absent(bucket, "k", b"same"))
        await gate.reached.wait()
        assert (await store.put_if_absent(bucket, "k", b"same")).created
        gate.gate.set()
        assert not (await ours).created


async def test_a_put_with_if_match_survives_a_lost_answer(
    s3_server: S3Server, store: ObjectStore, bucket: str
) -> None:
    first = await store.put(bucket, "k", b"1")
    async with faulty(s3_server, plan_of(Fault("put_object", FaultKind.LOST_ANSWER))) as slow:
        second = await slow.put(bucket, "k", b"2", if_match=first)
    assert (await store.head(bucket, "k")).etag == second
    with pytest.raises(ObjectChanged):
        await store.put(bucket, "k", b"3", if_match=first)


async def test_slow_down_is_tried_again_within_bounds(s3_server: S3Server, bucket: str) -> None:
    plan = plan_of(Fault("put_object", times=3))
    async with faulty(s3_server, plan) as store:
        await store.put(bucket, "k", b"1")
        assert store.retries == 3
        plan.add(Fault("put_object", times=99))
        with pytest.raises(SlowDown):
            await store.put(bucket, "k", b"1")
    assert plan.count("put_object") == 8


async def test_an_unreachable_server_is_no_answer(s3_server: S3Server) -> None:
    nowhere = s3_server.settings.model_copy(update={"endpoint_url": "http://127.0.0.1:1"})
    async with open_store(nowhere, retry=QUICK) as store:
        with pytest.raises(NoAnswer, match="no answer from S3") as caught:
            await store.get("bucket", "key")
    assert caught.value.retryable


async def test_a_silent_server_is_no_answer_after_the_time_out(
    s3_server: S3Server, bucket: str
) -> None:
    impatient = s3_server.settings.model_copy(update={"read_timeout_s": 0.2})
    once = RetryPolicy(attempts=1)
    async with open_store(impatient, retry=once) as store:
        s3_server.pause()
        try:
            with pytest.raises(NoAnswer):
                await store.head(bucket, "k")
        finally:
            s3_server.resume()


async def test_listing_pages_through_everything_in_order(store: ObjectStore, bucket: str) -> None:
    names = [f"runs/r{index:04d}/spec.json" for index in range(1010)]

    async def put(name: str) -> None:
        await store.put(bucket, name, b"x")

    await for_each(names, put, limit=16)
    assert [row.key async for row in store.list_keys(bucket, "runs/")] == names
    after = [row.key async for row in store.list_keys(bucket, "runs/", start_after=names[1000])]
    assert after == names[1001:]
    folders = [name async for name in store.list_folders(bucket, "runs/")]
    assert folders == [name.split("/")[1] for name in names]
    later = [name async for name in store.list_folders(bucket, "runs/", start_after="r1005")]
    assert later == folders[1006:]
    assert await store.delete_many(bucket, names) == 1010
    assert [row async for row in store.list_keys(bucket, "")] == []


async def test_bodies_over_http_are_not_hashed_with_sha256(
    s3_server: S3Server, bucket: str
) -> None:
    seen: list[str] = []
    async with open_store(s3_server.settings) as store:

        def look(request: object, **_: object) -> None:
            seen.append(request.headers["X-Amz-Content-SHA256"])  # type: ignore[attr-defined]

        store.client.meta.events.register("before-send.s3.*", look)
        await store.put(bucket, "k", b"1")
        hashed = s3_server.settings.model_copy(update={"unsigned_payload_over_http": False})
    async with open_store(hashed) as store:
        store.client.meta.events.register("before-send.s3.*", look)
        await store.put(bucket, "k", b"1")
    unsigned, signed = (value.decode() if isinstance(value, bytes) else value for value in seen)
    assert unsigned == "UNSIGNED-PAYLOAD"
    assert len(signed) == 64
