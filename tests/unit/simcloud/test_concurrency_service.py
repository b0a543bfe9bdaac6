from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import pytest

from simcloud.concurrency import (
    BackgroundService,
    OneOperation,
    leaves,
    open_channel,
    run_cleanup,
    single_error,
)
from simcloud.s3.retrying import for_each


class _Worker(BackgroundService):
    def __init__(self, *, fail_at: str = "") -> None:
        super().__init__()
        self.fail_at = fail_at
        self.log: list[str] = []
        self.go_on = asyncio.Event()

    async def run(self) -> None:
        self.log.append("run")
        if self.fail_at == "start":
            raise RuntimeError("could not start")
        self.started()
        try:
            await self.go_on.wait()
            if self.fail_at == "later":
                raise RuntimeError("failed later")
            await asyncio.Event().wait()
        finally:
            self.log.append("end")

    async def drain(self) -> None:
        self.log.append("drain")


async def test_entered_means_started_and_left_means_drained_then_stopped() -> None:
    worker = _Worker()
    async with worker:
        assert worker.log == ["run"]
    assert worker.log == ["run", "drain", "end"]


async def test_a_failing_start_is_raised_by_entering() -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        async with _Worker(fail_at="start"):
            raise AssertionError("entered")
    assert [str(leaf) for leaf in leaves(caught.value)] == ["could not start"]


async def test_a_failure_later_ends_the_block() -> None:
    worker = _Worker(fail_at="later")

    async def use() -> None:
        async with worker:
            worker.go_on.set()
            await _forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await use()
    assert [str(leaf) for leaf in leaves(caught.value)] == ["failed later"]


async def test_an_error_in_the_block_stops_without_draining() -> None:
    worker = _Worker()
    with pytest.raises(BaseExceptionGroup) as caught:
        async with worker:
            raise ValueError("in the block")
    assert [str(leaf) for leaf in leaves(caught.value)] == ["in the block"]
    assert worker.log == ["run", "end"]


async def test_stop_is_idempotent_and_may_come_before_the_start() -> None:
    worker = _Worker()
    worker.stop()
    worker.stop()
    async with worker:
        assert worker.log == []
    worker.stop()


async def test_a_service_is_started_once() -> None:
    worker = _Worker()
    async with worker:
        pass
    with pytest.raises(RuntimeError, match="started once"):
        await worker.__aenter__()


async def test_clean_up_goes_on_through_cancels_which_are_raised_afterwards() -> None:
    cleaning = asyncio.Event()
    may_end = asyncio.Event()
    cleaned = False

    async def clean() -> None:
        nonlocal cleaned
        cleaning.set()
        await may_end.wait()
        cleaned = True

    task = asyncio.ensure_future(run_cleanup(clean(), deadline_s=5))
    await cleaning.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned


async def test_clean_up_that_hangs_is_cut_off() -> None:
    with pytest.raises(TimeoutError):
        await run_cleanup(_forever(), deadline_s=0.01)


async def test_a_failure_of_clean_up_is_raised() -> None:
    with pytest.raises(ValueError, match="of the clean-up"):
        await run_cleanup(_raise(ValueError("of the clean-up")), deadline_s=5)


async def test_the_first_error_of_groups_of_others_is_let_out() -> None:
    with pytest.raises(ValueError, match="first"):
        async with single_error():
            raise ExceptionGroup("", [ExceptionGroup("", [ValueError("first")]), KeyError("2nd")])


@pytest.mark.parametrize("body_waits", [False, True], ids=["after the body", "in the body"])
async def test_an_operation_raises_its_first_error_and_leaves_no_cancel_behind(
    body_waits: bool,
) -> None:
    async def use() -> None:
        async with OneOperation() as group:
            group.create_task(_raise(ValueError("first")))
            group.create_task(_forever())
            if body_waits:
                await _forever()

    with pytest.raises(ValueError, match="first"):
        await use()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    # Deadlines of whoever goes on work: they tell their own cancel from others by that count.
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await _forever()


async def test_a_cancel_that_comes_while_an_operation_aborts_is_not_lost() -> None:
    ending = _Ending()

    async def use() -> None:
        async with OneOperation() as group:
            group.create_task(ending.run())
            await ending.begun.wait()
            group.create_task(_raise(ValueError("first")))

    with pytest.raises(asyncio.CancelledError) as caught:
        await _cancelled_while_it_aborts(use(), ending)
    assert caught.value.__cause__ is not None
    assert [str(leaf) for leaf in leaves(caught.value.__cause__)] == ["first"]


async def test_what_a_cancel_hides_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    ending = _Ending()

    async def inner() -> None:
        async with OneOperation() as group:
            group.create_task(ending.run())
            await ending.begun.wait()
            group.create_task(_raise(ValueError("first")))

    async def outer() -> None:
        async with OneOperation():
            await inner()

    with pytest.raises(asyncio.CancelledError):
        await _cancelled_while_it_aborts(outer(), ending)
    (line,) = caplog.records
    assert (line.levelname, line.message) == ("WARNING", "a cancel hides what failed")
    assert line.exc_info is not None
    assert line.exc_info[1] is not None
    assert [str(leaf) for leaf in leaves(line.exc_info[1])] == ["first"]


async def test_a_cancel_that_hides_nothing_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    begun = asyncio.Event()
    send, receive = open_channel[int](0)

    async def left_alone() -> None:
        with receive:
            begun.set()
            await _forever()

    async def use() -> None:
        async with OneOperation() as group:
            group.create_task(left_alone())
            try:
                await _forever()
            finally:
                # As when who receives was cancelled first.
                receive.close()
                await send.send(0)

    task = asyncio.ensure_future(use())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.__cause__ is not None
    assert caplog.records == []


async def test_a_cancel_that_comes_while_work_on_each_item_aborts_is_not_lost() -> None:
    ending = _Ending()

    async def call(item: str) -> None:
        if item == "ends slowly":
            await ending.run()
        await ending.begun.wait()
        raise ValueError(item)

    with pytest.raises(asyncio.CancelledError):
        await _cancelled_while_it_aborts(for_each(["ends slowly", "fails"], call, limit=2), ending)


async def test_a_cancel_comes_before_the_errors_that_tasks_end_with_because_of_it() -> None:
    begun = asyncio.Event()

    async def fails_when_cancelled() -> None:
        try:
            begun.set()
            await _forever()
        finally:
            raise ValueError("because of the cancel")

    async def use() -> None:
        async with OneOperation() as group:
            group.create_task(fails_when_cancelled())

    task = asyncio.ensure_future(use())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_failed_operation_of_a_clean_up_does_not_cancel_the_clean_up_again() -> None:
    begun = asyncio.Event()
    cleaned: list[str] = []

    async def use() -> None:
        try:
            begun.set()
            await _forever()
        finally:
            try:
                async with OneOperation() as group:
                    group.create_task(_raise(ValueError("first")))
            except ValueError as error:
                cleaned.append(str(error))
            # Until here a cancel would have come again.
            await asyncio.sleep(0)
            cleaned.append("whole")

    task = asyncio.ensure_future(use())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == ["first", "whole"]


class _Ending:
    """Work that, cancelled, waits for ``may_end``."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.may_end = asyncio.Event()

    async def run(self) -> None:
        try:
            self.begun.set()
            await _forever()
        finally:
            self.cancelled.set()
            await self.may_end.wait()


async def _cancelled_while_it_aborts(
    work: Coroutine[object, object, object], ending: _Ending
) -> None:
    """Raises what becomes of work that is cancelled, once, while ``ending`` holds its end up."""
    after = asyncio.Event()

    async def use() -> None:
        try:
            await work
        finally:
            # What cleans up afterwards is not cancelled once more.
            await asyncio.sleep(0)
            after.set()

    task = asyncio.ensure_future(use())
    await ending.cancelled.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    ending.may_end.set()
    try:
        await task
    finally:
        assert after.is_set()


async def _forever() -> None:
    await asyncio.Event().wait()


async def _raise(error: Exception) -> None:
    raise error
