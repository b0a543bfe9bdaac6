"""A command that stops its stack: neither Ctrl-C nor one bad child keeps the others running."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from simcloud_cli.embedded import Ports, running_stack
from simcloud_cli.interrupt import Interrupted, run_async
from simcloud_cli.processes import ChildProcess, ProcessSpec, stop_in_turn
from simcloud_cli.statedir import StateDir

WAITING = [
    sys.executable,
    "-I",
    "-S",
    "-c",
    "import signal; print('up', flush=True); signal.pause()",
]
_TURNS = 20
"""Of the event loop: more than a cancelled task takes to end when nothing holds it."""


class Unreachable(ChildProcess):
    """A child that can't be signalled, as one that has changed its user."""

    async def stop(self) -> None:
        """Fails."""
        raise PermissionError(1, "Operation not permitted")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _processes_in(folder: Path) -> list[int]:
    """Processes with a folder in their command lines."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if os.fsencode(folder) in path.read_bytes():
                found.append(int(path.parent.name))
    return found


@asynccontextmanager
async def started(
    folder: Path, name: str, kind: type[ChildProcess] = ChildProcess
) -> AsyncIterator[ChildProcess]:
    log = folder / f"{name}.log"

    async def ready() -> bool:
        return b"up" in log.read_bytes()

    child = await kind.start(ProcessSpec(name=name, argv=WAITING, log=log, ready=ready))
    try:
        await child.until_ready()
        yield child
    finally:
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
        await child.until_dead()


async def test_a_cancel_while_one_child_stops_leaves_none(tmp_path: Path) -> None:
    async with started(tmp_path, "slow") as slow, started(tmp_path, "next") as following:
        os.kill(slow.pid, signal.SIGSTOP)
        stopping = asyncio.ensure_future(stop_in_turn([slow, following]))
        await asyncio.sleep(0)
        stopping.cancel()
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        assert not stopping.done()
        os.kill(slow.pid, signal.SIGCONT)
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert not _alive(slow.pid)
        assert not _alive(following.pid)


async def test_a_child_that_can_not_be_stopped_is_said_after_the_others_were(
    tmp_path: Path,
) -> None:
    async with started(tmp_path, "bad", Unreachable) as bad, started(tmp_path, "good") as good:
        with pytest.raises(PermissionError):
            await stop_in_turn([bad, good])
        assert not _alive(good.pid)


def test_ctrl_c_while_a_finished_command_stops_waits_for_its_stack(tmp_path: Path) -> None:
    servers: list[int] = []
    left: list[bool] = []

    def let_on(turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(let_on, turns - 1)
        else:
            os.kill(servers[0], signal.SIGCONT)

    def say(line: str) -> None:
        if line == "stopping":
            os.kill(servers[0], signal.SIGSTOP)
            os.kill(os.getpid(), signal.SIGINT)
            let_on(_TURNS)

    async def work() -> None:
        state = StateDir(tmp_path / "state")
        try:
            async with running_stack(
                state, bucket="bucket", ports=Ports(), parts=frozenset(), say=say
            ):
                servers.extend(_processes_in(tmp_path))
        finally:
            left.extend(_alive(pid) for pid in servers)

    with pytest.raises(Interrupted):
        run_async(work())
    assert left == [False]
