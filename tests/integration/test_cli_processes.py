"""Child processes of the embedded stack: ready, stopped, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from simcloud.errors import NotReady, PreconditionFailed
from simcloud_cli.embedded import EmbeddedStack
from simcloud_cli.processes import ChildProcess, ProcessSpec
from simcloud_cli.readiness import refuse_taken_port
from simcloud_cli.statedir import StackInfo
from support.eventually import eventually_sync

SLEEPER = [
    sys.executable,
    "-c",
    "import signal, sys; print('up', flush=True); signal.pause()",
]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print('up', flush=True)\nwhile True: signal.pause()",
]
DYING = [sys.executable, "-c", "import sys; print('the reason', flush=True); sys.exit(7)"]


def _alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False  # gone before it was opened, or before it was read
    # A zombie has ended; its parent only hasn't looked yet.
    return status.rpartition(")")[2].split()[0] != "Z"


def _spec(folder: Path, argv: Sequence[str], **changes: float) -> ProcessSpec:
    log = folder / "child.log"

    async def ready() -> bool:
        return log.exists() and b"up" in log.read_bytes()

    return ProcessSpec(
        name="child",
        argv=argv,
        log=log,
        ready=ready,
        ready_within_s=changes.get("ready_within_s", 20.0),
        stop_within_s=changes.get("stop_within_s", 10.0),
    )


@asynccontextmanager
async def _started(spec: ProcessSpec) -> AsyncIterator[ChildProcess]:
    child = await ChildProcess.start(spec)
    try:
        yield child
    finally:
        await child.stop()


async def test_a_child_gets_ready_and_ends_on_sigterm(tmp_path: Path) -> None:
    async with _started(_spec(tmp_path, SLEEPER)) as child:
        await child.until_ready()
        assert _alive(child.pid)
    assert not _alive(child.pid)
    await child.stop()


async def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    async with _started(_spec(tmp_path, STUBBORN, stop_within_s=0.2)) as child:
        await child.until_ready()
    assert not _alive(child.pid)


async def test_a_death_before_readiness_says_the_status_and_the_log_s_end(tmp_path: Path) -> None:
    async with _started(_spec(tmp_path, DYING)) as child:
        with pytest.raises(NotReady, match=r"ended with status 7(.|\n)*the reason"):
            await child.until_ready()


async def test_a_child_that_never_gets_ready_is_said(tmp_path: Path) -> None:
    silent = [sys.executable, "-c", "import signal; signal.pause()"]
    async with _started(_spec(tmp_path, silent, ready_within_s=0.2)) as child:
        with pytest.raises(NotReady, match="was not ready within"):
            await child.until_ready()


async def test_the_death_of_a_process_cancels_the_work_and_is_reported(tmp_path: Path) -> None:
    info = StackInfo(0, "", "", "", "", "", "", "", "")
    cancelled = asyncio.Event()

    async def work() -> None:
        os.kill(child.pid, signal.SIGKILL)
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with _started(_spec(tmp_path, SLEEPER)) as child:
        await child.until_ready()
        with pytest.raises(NotReady, match="ended by SIGKILL"):
            await EmbeddedStack(info, [child]).supervise(work())
    assert cancelled.is_set()


async def test_supervised_work_gives_its_result_or_its_own_error(tmp_path: Path) -> None:
    info = StackInfo(0, "", "", "", "", "", "", "", "")

    async def fine() -> int:
        return 3

    async def wrong() -> int:
        raise PreconditionFailed("as it is")

    async with _started(_spec(tmp_path, SLEEPER)) as child:
        await child.until_ready()
        stack = EmbeddedStack(info, [child])
        assert await stack.supervise(fine()) == 3
        with pytest.raises(PreconditionFailed, match="as it is"):
            await stack.supervise(wrong())


def test_a_child_dies_with_its_killed_parent(tmp_path: Path) -> None:
    script = f"""
import asyncio
from pathlib import Path
from simcloud_cli.processes import ChildProcess, ProcessSpec

async def ready():
    return "up" in Path({str(tmp_path / "child.log")!r}).read_text()

async def main():
    spec = ProcessSpec(name="child", argv={SLEEPER!r}, log=Path({str(tmp_path / "child.log")!r}),
                       ready=ready)
    child = await ChildProcess.start(spec)
    await child.until_ready()
    print(child.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
    assert _alive(pid)
    parent.kill()
    parent.wait()
    eventually_sync(lambda: not _alive(pid))


def test_a_taken_port_is_named_and_a_free_one_is_not() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        with pytest.raises(PreconditionFailed, match=f"port {port} for the uploader is taken"):
            refuse_taken_port(port, "uploader")
    refuse_taken_port(port, "uploader")
    refuse_taken_port(0, "uploader")
