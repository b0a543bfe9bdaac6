from __future__ import annotations

import asyncio

import pytest

from simcloud.concurrency import BackgroundService, leaves, run_cleanup, single_error


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


async def test_a_group_that_is_one_operation_raises_its_first_error() -> None:
    async def use() -> None:
        async with single_error(), asyncio.TaskGroup() as group:
            group.create_task(_raise(ValueError("first")))
            group.create_task(_forever())

    with pytest.raises(ValueError, match="first"):
        await use()


async def _forever() -> None:
    await asyncio.Event().wait()


async def _raise(error: Exception) -> None:
    raise error
