"""What Complete's unclear answers mean, and when an upload is nobody's."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from simcloud.errors import SimcloudError
from simcloud.s3.errors import (
    BadDigest,
    ConditionalConflict,
    InvalidPart,
    NoAnswer,
    NoSuchUpload,
    ObjectExists,
    ServerFailed,
)
from simcloud.s3.multipart import ListedUpload
from simcloud.s3.objects import ObjectInfo
from simcloud_uploader.multipart import WRITER_METADATA, Verdict, judge
from simcloud_uploader.slots import AdaptiveSlots
from simcloud_uploader.sweeper import abandoned
from support.clock import ManualClock

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
