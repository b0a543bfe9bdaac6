"""The whole path from a client to S3 beside its two halves, s5cmd, boto3 and AWS's CRT.

The same bytes go to the same SeaweedFS in turn: our client streams frames over gRPC to an uploader
process, the others upload the very tars as files. Processor time is that of all processes that
upload, the server's apart; it holds on a busy machine, where MB/s do not.
"""

# ruff: noqa: T201 - talks on standard output

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr
from s3_clients import by_s5cmd
from upload_load import Load

from simcloud.s3.client import S3Settings
from simcloud.s3.objects import open_store
from support.s3_server import running_s3_server

HERE: Final = Path(__file__).resolve().parent
BUCKET: Final = "throughput"
GIB: Final = 1 << 30
COST_BAR: Final = 1.25
"""Uploader's processor time by that of gRPC receive alone and S3 send alone."""
SPEED_BAR: Final = 1.0
"""MB/s by s5cmd's."""
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a private folder is made in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One upload of the whole load."""

    wall_s: float
    sender_cpu_s: float
    """Of the process that has the bytes."""
    server_cpu_s: float = 0.0
    """Of the uploader, or of what stands in for it."""


class Worker:
    """A process that does something once a line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        # Linux: the clock of a process's processor time, to the nanosecond, threads that have
        # ended included (clock_getcpuclockid(3): MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED)).
        self._clock = (~process.pid << 3) | 2

    def cpu_s(self) -> float:
        """User and system time so far."""
        return time.clock_gettime(self._clock)

    def ask(self, **asked: object) -> Any:
        """Has it done once, and returns what it answers."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return self.answer()

    def wait(self, timeout_s: float) -> None:
        """Waits; a process that ends meanwhile is an error."""
        with suppress(subprocess.TimeoutExpired):
            status = self._process.wait(timeout_s)
            raise RuntimeError(f"{self._process.args!r} ended with {status}")

    def answer(self) -> Any:
        """Its next line."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended early")
        return json.loads(line)


@contextmanager
def worker(*command: object, **environment: str) -> Iterator[Worker]:
    """A Python process during the block."""
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **environment},
        text=True,
    )
    try:
        yield Worker(process)
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def uploader(settings: S3Settings, folder: Path) -> Iterator[tuple[Worker, str]]:
    """An uploader as it is shipped, its process and its address."""
    port_file = folder / "port.json"
    environment = {
        "SIMCLOUD_UPLOADER_S3__ENDPOINT_URL": settings.endpoint_url,
        "SIMCLOUD_UPLOADER_S3__ACCESS_KEY_ID": settings.access_key_id,
        "SIMCLOUD_UPLOADER_S3__SECRET_ACCESS_KEY": settings.secret_access_key.get_secret_value(),
        "SIMCLOUD_UPLOADER_S3__PATH_STYLE": "true",
    }
    command = ("-m", "simcloud_uploader", "--port-file", port_file, "--log-level", "error")
    with worker(*command, **environment) as process:
        deadline = time.monotonic() + 60
        while not port_file.exists():
            if time.monotonic() > deadline:
                raise RuntimeError("the uploader does not listen")
            process.wait(0.05)
        yield process, f"127.0.0.1:{json.loads(port_file.read_text())['grpc']}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The processes that upload."""

    files: list[Path]
    sender: Worker
    receiver: Worker
    receiver_address: str
    s3_sender: Worker
    boto3: Worker
    crt: Worker
    null: S3Settings

    def over_grpc(self, server: Worker, address: str, run: str, *, create: bool) -> Figure:
        """Our client to a server."""
        before = server.cpu_s()
        done = self.sender.ask(address=address, bucket=BUCKET, run=run, create=create)
        return Figure(
            wall_s=done["wall_s"],
            sender_cpu_s=done["cpu_s"],
            server_cpu_s=server.cpu_s() - before,
        )

    def one_round(self, settings: S3Settings, folder: Path, number: int) -> dict[str, Figure]:
        """Each once."""
        secret = settings.secret_access_key.get_secret_value()
        s3 = {**settings.model_dump(mode="json"), "secret_access_key": secret, "session_token": ""}

        def alone(process: Worker, run: str) -> Figure:
            done = process.ask(s3=s3, bucket=BUCKET, run=run)
            return Figure(wall_s=done["wall_s"], sender_cpu_s=done["cpu_s"])

        def s5cmd() -> Figure:
            done = by_s5cmd(settings, BUCKET, "s5cmd", self.files)
            return Figure(wall_s=done["wall_s"], sender_cpu_s=done["cpu_s"])

        null_folder = folder / "null"
        null_folder.mkdir()
        with (
            uploader(settings, folder) as (process, address),
            uploader(self.null, null_folder) as (to_null, null_address),
        ):
            # What every process does once is not counted: imports, the first connections, looking
            # what the bucket's server can do. The other processes have it behind them since the
            # first round.
            self.over_grpc(process, address, "warm", create=True)
            self.over_grpc(to_null, null_address, f"warm-{number}", create=True)
            steps: dict[str, Callable[[], Figure]] = {
                "simcloud": lambda: self.over_grpc(process, address, "simcloud", create=True),
                "to null S3": lambda: self.over_grpc(
                    to_null, null_address, f"run-{number}", create=True
                ),
                "receive alone": lambda: self.over_grpc(
                    self.receiver, self.receiver_address, "dropped", create=False
                ),
                "send alone": lambda: alone(self.s3_sender, "alone"),
                "s5cmd": s5cmd,
                "boto3": lambda: alone(self.boto3, "boto3"),
                "CRT": lambda: alone(self.crt, "crt"),
            }
            names = list(steps)
            shift = number % len(names)
            figures = {name: steps[name]() for name in names[shift:] + names[:shift]}
        return {name: figures[name] for name in names}


def report(rounds: list[dict[str, Figure]], size_bytes: int) -> bool:
    """Prints medians and what they come to; returns whether both bars are met."""

    def median(name: str, of: Callable[[Figure], float]) -> float:
        return statistics.median(of(figures[name]) for figures in rounds)

    gib = size_bytes / GIB
    speed = {name: size_bytes / 1e6 / median(name, lambda f: f.wall_s) for name in rounds[0]}
    sender = {name: median(name, lambda f: f.sender_cpu_s) / gib for name in rounds[0]}
    server = {name: median(name, lambda f: f.server_cpu_s) / gib for name in rounds[0]}
    print(f"{size_bytes / 1e6:.0f} MB, medians of {len(rounds)} rounds")
    print(f"{'':14}{'MB/s':>6}  CPU-s/GiB: {'sender':>7}{'server':>8}{'all':>7}")
    for name in rounds[0]:
        both = sender[name] + server[name]
        print(
            f"{name:14}{speed[name]:6.0f}  {'':11}{sender[name]:7.2f}{server[name]:8.2f}{both:7.2f}"
        )
    cost = statistics.median(
        figures["simcloud"].server_cpu_s
        / (figures["receive alone"].server_cpu_s + figures["send alone"].sender_cpu_s)
        for figures in rounds
    )
    faster = statistics.median(
        figures["s5cmd"].wall_s / figures["simcloud"].wall_s for figures in rounds
    )
    print(
        f"uploader's CPU / (gRPC receive alone + S3 send alone): {cost:.2f}, bar {COST_BAR:.2f}\n"
        f"MB/s / s5cmd's: {faster:.2f}, bar {SPEED_BAR:.2f}"
    )
    return cost <= COST_BAR and faster >= SPEED_BAR


def _settings_of(port: int) -> S3Settings:
    return S3Settings(
        endpoint_url=f"http://127.0.0.1:{port}",
        access_key_id="null",
        secret_access_key=SecretStr("null"),
        path_style=True,
    )


async def _make_bucket(settings: S3Settings) -> None:
    async with open_store(settings) as store:
        await store.ensure_bucket(BUCKET)


def main() -> int:
    """Prints the table; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=2, help="sent at once, a stream each")
    parser.add_argument("--frames", type=int, default=72, help="of a shard, each by two cameras")
    parser.add_argument("--layer-bytes", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--folder",
        type=Path,
        default=_MEMORY if _MEMORY.is_dir() else None,
        help="where S3 keeps its data; in memory by default, so that no disk is measured",
    )
    arguments = parser.parse_args()
    load = Load(shards=arguments.shards, frames=arguments.frames, layer_bytes=arguments.layer_bytes)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name, ExitStack() as stack:
        folder = Path(name)
        files = load.write_tars(folder)

        def start(program: str, *command: object) -> Worker:
            return stack.enter_context(worker(HERE / program, *command))

        receiver = start("halves.py", "receive")
        bench = Bench(
            files=files,
            sender=start(
                "sender.py",
                *("--shards", load.shards, "--frames", load.frames),
                *("--layer-bytes", load.layer_bytes),
            ),
            receiver=receiver,
            receiver_address=f"127.0.0.1:{receiver.answer()['grpc']}",
            s3_sender=start("halves.py", "send", *files),
            boto3=start("s3_clients.py", "boto3", *files),
            crt=start("s3_clients.py", "CRT", *files),
            null=_settings_of(start("null_s3.py").answer()["port"]),
        )
        rounds = []
        for number in range(arguments.rounds + 1):
            # A server of its own each round: what it keeps is as much in each, and bounded.
            with (
                tempfile.TemporaryDirectory(dir=folder) as own,
                running_s3_server(Path(own)) as server,
            ):
                asyncio.run(_make_bucket(server.settings))
                rounds.append(bench.one_round(server.settings, Path(own), number))
        return 0 if report(rounds[1:], sum(file.stat().st_size for file in files)) else 1


if __name__ == "__main__":
    sys.exit(main())
