"""CPU time of the router per request, beside two yardsticks measured in the same run.

The router has a core of its own; client and endpoint share another. Limiter, queue, metrics, access
log and trace context are on, traces sampled at 0: as in production. CPU is user + system time of
the whole process from /proc/<pid>/stat, so it holds where wall time on a shared machine does not.
Rounds alternate between all kinds of request.

    .venv/bin/python bench/router/cpu_per_request.py [--requests 3000] [--rounds 5] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc.aio
import uvloop
import yaml
from peers import FLOATS, MODEL

from simcloud.client.router import Frame, Picture, RouterClient
from simcloud.oip.service import Stub
from simcloud.oip.tensors import new
from simcloud.rpc.channel import connect

PEERS: Final = Path(__file__).with_name("peers.py")
TICKS: Final = os.sysconf("SC_CLK_TCK")
BARS_MS: Final = {"unary": 0.37, "stream": 0.23, "frames": 0.23}
"""What the router must reach on a machine of its own."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A process that listens."""

    pid: int
    port: int

    def cpu_s(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def request() -> Any:
    """A ModelInferRequest of 1 KiB."""
    message = new("ModelInferRequest")
    message.model_name, message.id = MODEL, "request-1"
    message.inputs.add(name="x", datatype="FP32", shape=[1, FLOATS])
    message.raw_input_contents.append(bytes(4 * FLOATS))
    return message


async def unary(channel: grpc.aio.Channel, count: int, concurrency: int) -> None:
    """ModelInfer, ``concurrency`` at once."""
    infer, message, left = Stub(channel).ModelInfer, request(), count

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await infer(message, timeout=30)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())


async def stream(channel: grpc.aio.Channel, count: int, concurrency: int) -> None:
    """ModelStreamInfer, ``concurrency`` in flight on one stream."""
    message, room = request(), asyncio.Semaphore(concurrency)

    async def requests() -> AsyncIterator[Any]:
        for _ in range(count):
            await room.acquire()
            yield message

    async for answer in Stub(channel).ModelStreamInfer(requests(), timeout=120):
        room.release()
        if answer.error_message:
            raise RuntimeError(answer.error_message)


async def frames(channel: grpc.aio.Channel, count: int, concurrency: int) -> None:
    """Infer with inline pictures of 1 KiB, ``concurrency`` in flight on one stream."""
    picture, room = Picture("image/jpeg", bytes(1024)), asyncio.Semaphore(concurrency)

    async def pictures() -> AsyncIterator[Frame]:
        for number in range(count):
            await room.acquire()
            yield Frame(str(number), picture)

    async for answer in RouterClient(channel).infer_frames(MODEL, pictures(), timeout_s=120):
        room.release()
        if not answer.ok:
            raise RuntimeError(answer.message)


@contextmanager
def started(
    cpu: int, command: list[str], log: Path, *, port_file: Path | None = None, **environment: str
) -> Iterator[Peer]:
    """A process pinned to one core; its port is in its first line, or in its port file."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            ["taskset", "-c", str(cpu), sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **environment},
            text=True,
        )
        try:
            port = _first_line(process) if port_file is None else _file_port(process, port_file)
            if port is None:
                raise RuntimeError(f"{command} did not start:\n{log.read_text()[-2000:]}")
            yield Peer(process.pid, port)
        finally:
            process.terminate()
            process.wait(30)


def _first_line(process: subprocess.Popen[str]) -> int | None:
    assert process.stdout is not None
    line = process.stdout.readline()
    return int(json.loads(line)["port"]) if line else None


def _file_port(process: subprocess.Popen[str], path: Path) -> int | None:
    while not path.exists():
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            return None
    return int(json.loads(path.read_text())["grpc"])


def router_command(folder: Path, endpoint_port: int) -> list[str]:
    """The router as it is shipped, in front of one endpoint."""
    tensor = {"datatype": "FP32", "shape": [-1, FLOATS]}
    model = {
        "name": MODEL,
        "task": "object_detection",
        "digest": "0" * 64,
        "max_batch_size": 8,
        "inputs": [{"name": "x", **tensor}],
        "outputs": [{"name": "y", **tensor}],
        "targets": [{"name": MODEL, "kind": "sagemaker", "endpoint": MODEL}],
    }
    catalog = folder / "catalog.yaml"
    catalog.write_text(yaml.safe_dump({"models": [model]}))
    return [
        *("-m", "simcloud_inference_router"),
        *("--listen", "127.0.0.1:0", "--port-file", str(folder / "port.json")),
        *("--catalog", str(catalog)),
        *("--sagemaker-endpoint-url", f"http://127.0.0.1:{endpoint_port}"),
    ]


Load = Callable[[grpc.aio.Channel, int, int], Awaitable[None]]


async def measured(load: Load, peer: Peer, requests: int, concurrency: int) -> float:
    """CPU milliseconds of ``peer`` for each request of a load."""
    async with connect(f"127.0.0.1:{peer.port}") as channel:
        await load(channel, min(requests, 200), concurrency)
        before = peer.cpu_s()
        await load(channel, requests, concurrency)
        return (peer.cpu_s() - before) * 1000 / requests


def called(cpu: int, endpoint: Peer, arguments: argparse.Namespace) -> float:
    """CPU milliseconds of a bare signed call, aiohttp and SigV4 and nothing else."""
    made = subprocess.run(
        [
            *("taskset", "-c", str(cpu), sys.executable, str(PEERS), "caller"),
            *("--url", f"http://127.0.0.1:{endpoint.port}"),
            *("--requests", str(arguments.requests)),
            *("--concurrency", str(arguments.concurrency)),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(json.loads(made.stdout)["cpu_ms"])


async def rounds(router: Peer, echo: Peer, endpoint: Peer, arguments: argparse.Namespace) -> Any:
    """Figures of every round, by what was measured."""
    figures: dict[str, list[float]] = {}
    kinds: tuple[tuple[str, Load, Peer], ...] = (
        ("unary", unary, router),
        ("stream", stream, router),
        ("frames", frames, router),
        ("echo unary", unary, echo),
        ("echo stream", stream, echo),
    )
    for _ in range(arguments.rounds):
        for name, load, peer in kinds:
            value = await measured(load, peer, arguments.requests, arguments.concurrency)
            figures.setdefault(name, []).append(value)
        value = await asyncio.to_thread(called, arguments.router_cpu, endpoint, arguments)
        figures.setdefault("bare signed call", []).append(value)
    return figures


def report(figures: dict[str, list[float]]) -> None:
    """A table for people: median and best round, and the router's cost above its two halves."""
    medians = {name: statistics.median(values) for name, values in figures.items()}
    lines = [f"{'CPU ms per request':20} {'median':>7} {'least':>7} {'bar':>6} {'÷ halves':>9}"]
    for name, values in figures.items():
        bar = f"{BARS_MS[name]:.2f}" if name in BARS_MS else ""
        halves = ""
        if name in BARS_MS:
            echo = medians["echo unary" if name == "unary" else "echo stream"]
            halves = f"{medians[name] / (echo + medians['bare signed call']):.2f}"
        lines.append(f"{name:20} {medians[name]:7.3f} {min(values):7.3f} {bar:>6} {halves:>9}")
    sys.stdout.write("\n".join(lines) + "\n")


def main() -> None:
    """Starts everything, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--router-cpu", type=int, default=0)
    parser.add_argument("--other-cpu", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {arguments.other_cpu})
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        endpoint = stack.enter_context(
            started(arguments.other_cpu, [str(PEERS), "endpoint"], folder / "endpoint.log")
        )
        echo = stack.enter_context(
            started(arguments.router_cpu, [str(PEERS), "echo"], folder / "echo.log")
        )
        router = stack.enter_context(
            started(
                arguments.router_cpu,
                router_command(folder, endpoint.port),
                folder / "router.log",
                port_file=folder / "port.json",
                SIMCLOUD_INFERENCE_ROUTER_SAGEMAKER__ACCESS_KEY_ID="AKIDBENCH",
                SIMCLOUD_INFERENCE_ROUTER_SAGEMAKER__SECRET_ACCESS_KEY="secret",  # noqa: S106
            )
        )
        figures = uvloop.run(rounds(router, echo, endpoint, arguments))
    if arguments.json:
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        report(figures)


if __name__ == "__main__":
    main()
