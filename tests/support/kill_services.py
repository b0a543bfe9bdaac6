"""Services as processes, killed and started again where they were, as an orchestrator does.

Each life of a process has a log of its own; a process that ends otherwise than it was meant to
fails the test.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from support.eventually import eventually
from support.kill_plan import KillPlan, Life, Victim
from support.s3_server import S3Server

KILLED = -signal.SIGKILL
_AT_WORK = (b'"frame begun"', b'"shard owned"')
_READY_WITHIN_S = 300.0
_LOOK_EVERY_S = 0.1
# Below Linux's ephemeral ports: while a service is dead, no outgoing connection takes its own.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    rng = random.SystemRandom()
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", rng.choice(_PORTS)))
            port: int = probe.getsockname()[1]
            return port


async def spawn(
    command: Sequence[str], *, log: Path, environment: Mapping[str, str], folder: Path
) -> asyncio.subprocess.Process:
    """Starts a Python module as a process; its output goes to a file of its own."""
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", *command),
            cwd=folder,
            env={**os.environ, "PYTHONPATH": _python_path(), **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
        )


def _python_path() -> str:
    """Ours, where `support` is found too."""
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return os.pathsep.join(filter(None, paths))


async def lead(
    process: asyncio.subprocess.Process, life: Life | None, works: Callable[[], bool]
) -> int:
    """Waits for a process's end, or brings it about; returns the exit status.

    Args:
        process: the process.
        life: how it ends; None: by itself.
        works: whether it has been seen at work.
    """
    try:
        if life is None or life.point is not None:
            return await process.wait()
        while life.at_work and not works():
            if await _ended_within(process, _LOOK_EVERY_S):
                return await process.wait()
        if not await _ended_within(process, life.after_s):
            with suppress(ProcessLookupError):
                process.kill()
        return await process.wait()
    finally:
        await end(process)


async def _ended_within(process: asyncio.subprocess.Process, seconds: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await process.wait()
    return process.returncode is not None


def says(log: Path, *words: bytes) -> bool:
    """Whether one of some words is in a log."""
    text = log.read_bytes()
    return any(word in text for word in words)


async def end(process: asyncio.subprocess.Process) -> None:
    """Leaves no process behind, whatever happened."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def tail(log: Path) -> str:
    """The end of a log, for a failure."""
    return log.read_text(errors="replace")[-3000:]


@dataclass
class Service:
    """One replica of a service, on a port that stays the same over its lives."""

    victim: Victim
    name: str
    module: str
    prefix: str
    """Beginning of its variables."""
    settings: Mapping[str, str]
    folder: Path
    port: int = field(default_factory=free_port)
    lives: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set for good when it could work for the first time."""

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    async def tend(self, plan: KillPlan, active: asyncio.Event) -> None:
        """Starts it again and again; ends by cancel.

        Args:
            plan: says how each process ends.
            active: set while there is work: a random moment is one of work.
        """
        while True:
            life = plan.begin(self.victim)
            process, log = await self._start(life)
            try:
                await self._until_ready(process, log)
                self.ready.set()
                await active.wait()
            except BaseException:
                await end(process)
                raise
            code = await lead(process, life, lambda log=log: says(log, *_AT_WORK))  # type: ignore[misc]
            assert life is not None, f"{self.name} ended by itself with {code}: {tail(log)}"
            assert code == KILLED, f"{self.name} ended with {code}, not killed: {tail(log)}"
            plan.end(self.victim, life)

    async def _start(self, life: Life | None) -> tuple[asyncio.subprocess.Process, Path]:
        self.lives += 1
        self._port_file.unlink(missing_ok=True)
        own = {"LISTEN": self.address, "PORT_FILE": str(self._port_file), "LOG_LEVEL": "debug"}
        environment = {self.prefix + key: text for key, text in {**self.settings, **own}.items()}
        environment |= {} if life is None else life.environment
        log = self.folder / f"{self.name}.{self.lives}.log"
        process = await spawn([self.module], log=log, environment=environment, folder=self.folder)
        return process, log

    async def _until_ready(self, process: asyncio.subprocess.Process, log: Path) -> None:
        def listens_or_ended() -> bool:
            return self._port_file.exists() or process.returncode is not None

        await eventually(listens_or_ended, within_s=_READY_WITHIN_S, what=f"{self.name} listens")
        assert process.returncode in {None, KILLED}, tail(log)

    @property
    def _port_file(self) -> Path:
        return self.folder / f"{self.name}.port.json"


async def tend_s3(server: S3Server, plan: KillPlan, active: asyncio.Event) -> None:
    """Kills the S3 server as planned and starts it again on what it had; ends when that is done."""
    while (life := plan.begin(Victim.S3)) is not None:
        await active.wait()
        await asyncio.sleep(life.after_s)
        await active.wait()
        server.kill()
        await server.start_async()
        plan.end(Victim.S3, life)
