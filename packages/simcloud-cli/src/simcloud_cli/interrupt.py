"""One event loop a command; Ctrl-C and SIGTERM cancel it and let it clean up."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import TypeVar

from simcloud.concurrency import single_error

T = TypeVar("T")


class Interrupted(BaseException):
    """The user, or the scheduler, asked us to stop. Not an Exception: nobody may swallow it."""


def run_async(work: Coroutine[object, object, T]) -> T:
    """Runs a command's work.

    Raises:
        Interrupted: a signal came; the work was cancelled and has cleaned up. Further signals
            during that are not heeded: clean-up has its own deadlines.
    """
    with asyncio.Runner() as runner:
        return runner.run(_interruptible(work))


async def _interruptible(work: Coroutine[object, object, T]) -> T:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    signalled = False

    def stop() -> None:
        nonlocal signalled
        if not signalled:
            signalled = True
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        async with single_error():
            return await work
    except asyncio.CancelledError:
        if signalled:
            raise Interrupted from None
        raise
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
