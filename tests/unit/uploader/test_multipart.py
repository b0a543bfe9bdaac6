"""What Complete's unclear answers mean, when an upload is nobody's, how often parts are tried."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast

import pytest

from simcloud.dataset.layout import RunLocation
from simcloud.errors import SimcloudError
from simcloud.s3.answers import ObjectInfo
from simcloud.s3.body import Pieces
from simcloud.s3.client import S3Client
from simcloud.s3.errors import (
    BadDigest,
    ConditionalConflict,
    InvalidPart,
    NoAnswer,
    NoSuchUpload,
    ObjectExists,
    ServerFailed,
    SlowDown,
)
from simcloud.s3.faults import Fault, inject, plan_of
from simcloud.s3.multipart import ListedUpload
from simcloud.s3.objects import ObjectStore
from simcloud.s3.retrying import RetryPolicy
from simcloud_uploader.multipart import WRITER_METADATA, PartUploader, Upload, Verdict, judge
from simcloud_uploader.parts import Part
from simcloud_uploader.slots import AdaptiveSlots
from simcloud_uploader.sweeper import abandoned
from support.clock import ManualClock

_NOWHERE = cast("S3Client", SimpleNamespace(upload_part=print))
"""A client that is never reached: the plan answers for it."""
NOW = datetime(2026, 1, 1, tzinfo=UTC)
UNCLEAR: tuple[type[SimcloudError], ...] = (NoAnswer, ServerFailed)
LOST: tuple[type[SimcloudError], ...] = (ConditionalConflict, InvalidPart, NoSuchUpload, BadDigest)


def found(*, writer: str = "run/000000/1", size: int = 10, crc: int | None = 7) -> ObjectInfo:
    return ObjectInfo(
        key="k",
        size_bytes=size,
        etag='"e"',
        last_modified=NOW,
        crc64nvme=crc,
        metadata={WRITER_METADATA: writer},
        date=NOW,
    )


def verdict(error: SimcloudError, info: ObjectInfo | None) -> Verdict:
    return judge(error, info, writer="run/000000/1", size_bytes=10, crc64nvme=7)


@pytest.mark.parametrize("kind", [*UNCLEAR, *LOST, ObjectExists])
def test_what_is_there_decides_whatever_complete_said(kind: type[SimcloudError]) -> None:
    assert verdict(kind("x"), found()) is Verdict.OURS
    assert verdict(kind("x"), found(writer="run/000000/2")) is Verdict.ANOTHERS
    assert verdict(kind("x"), found(size=11)) is Verdict.ANOTHERS
    assert verdict(kind("x"), found(crc=8)) is Verdict.ANOTHERS


@pytest.mark.parametrize("kind", UNCLEAR)
def test_without_an_object_an_unclear_answer_is_asked_again(kind: type[SimcloudError]) -> None:
    assert verdict(kind("x"), None) is Verdict.AGAIN


@pytest.mark.parametrize("kind", LOST)
def test_without_an_object_a_refusal_means_a_new_upload(kind: type[SimcloudError]) -> None:
    assert verdict(kind("x"), None) is Verdict.LOST


def test_an_upload_is_abandoned_by_commit_abort_or_age() -> None:
    def is_abandoned(
        *, committed: bool = False, aborted: bool = False, named_s: float | None = None
    ) -> bool:
        return abandoned(
            ListedUpload(key="k", upload_id="u", initiated=NOW),
            is_committed=committed,
            run_aborted=aborted,
            named_at=None if named_s is None else NOW + timedelta(seconds=named_s),
            now=NOW + timedelta(seconds=100),
            upload_ttl_s=50.0,
        )

    assert is_abandoned()
    assert is_abandoned(named_s=49)
    assert not is_abandoned(named_s=51)
    assert is_abandoned(named_s=99, committed=True)
    assert is_abandoned(named_s=99, aborted=True)


async def test_slots_are_halved_by_slow_down_and_regained_one_a_round() -> None:
    clock = ManualClock()
    slots = AdaptiveSlots(8, clock)
    slots.slow_down()
    slots.slow_down()
    assert slots.limit == 4
    clock.advance(1.0)
    slots.slow_down()
    assert slots.limit == 2
    for _ in range(3):
        slots.succeeded()
    assert slots.limit == 3
    for _ in range(10):
        clock.advance(1.0)
        slots.slow_down()
    assert slots.limit == 1


async def test_an_outage_is_retried_by_a_share_of_the_parts_and_no_more() -> None:
    """A fifth of the parts and 100 in ten seconds, however many fail and may be tried again."""
    plan = plan_of(Fault("upload_part", times=10_000))
    clock = ManualClock()
    store = ObjectStore(inject(_NOWHERE, plan), retry=RetryPolicy(attempts=1))
    parts = PartUploader(store, slots=AdaptiveSlots(64, clock), clock=clock, attempts=2)
    part = Part(
        number=1,
        data=Pieces([b"x"]),
        crc64nvme=0,
        payload_bytes=1,
        end_frame=1,
        final=True,
    )
    location = RunLocation(bucket="bucket", prefix="", run="run")
    upload = Upload(location=location, shard=0, upload_id="id", writer="w")

    async def fails() -> None:
        with pytest.raises(SlowDown):
            await parts.upload(upload, part)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(400):
            tasks.create_task(fails())
    assert plan.count("upload_part") == 400 + 400 // 5 + 100


async def test_a_cancelled_waiter_leaves_its_slot_to_the_next() -> None:
    slots = AdaptiveSlots(1, ManualClock())
    order: list[str] = []

    async def use(name: str, release: asyncio.Event) -> None:
        async with slots.take():
            order.append(name)
            await release.wait()

    release = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(use("first", release))
        await asyncio.sleep(0)
        second = tasks.create_task(use("second", release))
        tasks.create_task(use("third", release))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        release.set()
    assert order == ["first", "third"]
    assert slots.taken == 0
