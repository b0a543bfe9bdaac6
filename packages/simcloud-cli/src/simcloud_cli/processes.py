"""Child processes that can't outlive us: start, readiness, the tail of the log, stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from simcloud.concurrency import run_cleanup
from simcloud.errors import NotReady

TAIL_LINES = 20
_POLL_S = 0.05
_KILLED_WITHIN_S = 5.0
"""From SIGKILL to the end; one that the kernel holds longer is left behind."""

# PR_SET_PDEATHSIG (1) survives execve, so a child of ours dies with us even when we are killed with
# SIGKILL. It is set by a first, tiny program instead of a preexec_fn, which is unsafe in a process
# with threads. The parent may have died before the call: then the parent's id is another.
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """A process to run."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to our own environment."""
    log: Path
    ready: Callable[[], Awaitable[bool]]
    """Whether it can work now; asked until it is. Must not raise while the process comes up."""
    ready_within_s: float = 60.0
    stop_within_s: float = 15.0
    """From SIGTERM to SIGKILL."""


class ChildProcess:
    """A running child in a session of its own, so that Ctrl-C on the terminal reaches us alone."""

    def __init__(self, spec: ProcessSpec, process: asyncio.subprocess.Process) -> None:
        self.spec = spec
        self._process = process

    @classmethod
    async def start(cls, spec: ProcessSpec) -> ChildProcess:
        """Starts it; its output goes to its log, which begins anew."""
        with spec.log.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                "-c",
                _DIE_WITH_PARENT,
                str(os.getpid()),
                *spec.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, **spec.env},
                start_new_session=True,
            )
        return cls(spec, process)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def until_ready(self) -> None:
        """Returns when it can work.

        Raises:
            NotReady: it died, or took longer than ``ready_within_s``; the log's tail is said.
        """
        try:
            async with asyncio.timeout(self.spec.ready_within_s):
                while True:
                    if self._process.returncode is not None:
                        raise self.death()
                    if await self.spec.ready():
                        return
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise NotReady(
                f"{self.spec.name} was not ready within {self.spec.ready_within_s:.0f} s; "
                f"its log {self.spec.log} ends with:\n{self.tail()}"
            ) from None

    async def until_dead(self) -> NotReady:
        """The error that says how it died, when it did."""
        await self._process.wait()
        return self.death()

    def death(self) -> NotReady:
        """The error for a child that ended by itself."""
        return NotReady(
            f"{self.spec.name} ended {how_it_ended(self._process.returncode)}; "
            f"its log {self.spec.log} ends with:\n{self.tail()}"
        )

    def tail(self) -> str:
        """The last lines of its log."""
        try:
            lines = self.spec.log.read_text(errors="replace").splitlines()
        except OSError as error:
            return f"(can't be read: {error})"
        return "\n".join(f"  {line}" for line in lines[-TAIL_LINES:]) or "  (empty)"

    async def stop(self) -> None:
        """SIGTERM, then after ``stop_within_s`` SIGKILL for its whole process group. Idempotent."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                async with asyncio.timeout(self.spec.stop_within_s):
                    await self._process.wait()
            except TimeoutError:
                pass
        # Workers of its own may be left when it was killed: the group is its session.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()


async def stop_in_turn(children: Sequence[ChildProcess]) -> None:
    """Stops children one after the other, each of them, whatever becomes of us and of the others.

    A cancel interrupts none of it and is raised afterwards.

    Raises:
        OSError: of the first that could not be stopped (``TimeoutError``: it outlived SIGKILL).
    """
    longest_s = sum(_stopped_within_s(child) for child in children)
    await run_cleanup(_stop_each(children), deadline_s=longest_s + _KILLED_WITHIN_S)


async def _stop_each(children: Sequence[ChildProcess]) -> None:
    failures: list[OSError] = []
    for child in children:
        try:
            async with asyncio.timeout(_stopped_within_s(child)):
                await child.stop()
        except OSError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def _stopped_within_s(child: ChildProcess) -> float:
    return child.spec.stop_within_s + _KILLED_WITHIN_S


def how_it_ended(returncode: int | None) -> str:
    """Exit status in words."""
    if returncode is None:
        return "unseen"
    if returncode >= 0:
        return f"with status {returncode}"
    return f"by {signal.Signals(-returncode).name}"
