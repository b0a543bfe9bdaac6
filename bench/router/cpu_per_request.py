"""CPU time of the router per request, beside its halves and a proxy of stock parts, in one run.

The router has a core of its own; client and endpoint share another. Limiter, queue, metrics, access
log and trace context are on, traces sampled at 0: as in production. CPU is the time on a core of
all the process's threads, so it holds where wall time on a shared machine does not; caches shared
with others still make it larger, which the ratios in the last columns mostly take out. Rounds
alternate between all kinds of request.

    .venv/bin/python bench/router/cpu_per_request.py [--quick] [--processes 2] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc.aio
import uvloop
from endpoint import MODEL
from grpc_load import Load
from stand import ENVOY_HOP_MS, HERE, INFER_PATH, Peer, endpoint, options, request, router, started

from simcloud.client.router import Frame, Picture, RouterClient
from simcloud.oip.service import Stub
from simcloud.rpc.channel import connect

BARS_MS: Final = {"unary": 0.37, "stream": 0.23, "frames": 0.23}
"""What the router must reach on a machine of its own."""
PEERS: Final = str(HERE / "peers.py")

Make = Callable[[int, int, int], Awaitable[None]]
"""Makes requests: port, how many, how many at once."""

CONCERTED: Final = "unary, 2 processes"
APART: Final = "unary, 2 processes apart"


@dataclass(frozen=True, slots=True)
class Row:
    """What is measured."""

    name: str
    make: Make
    peers: tuple[Peer, ...]
    """Whose CPU counts."""
    apart: bool = False
    """Whether each has a port of its own and its share of the requests; else they share one."""


async def unary(port: int, count: int, concurrency: int) -> None:
    """ModelInfer, ``concurrency`` at once, a connection each: so they spread over processes."""
    message = request().SerializeToString()
    async with Load(port, path=INFER_PATH, message=message, connections=concurrency) as load:
        outcome = await load.closed(concurrency=concurrency, calls=count)
    if outcome.failed:
        raise RuntimeError(f"{outcome.failed} calls failed")


async def stream(port: int, count: int, concurrency: int) -> None:
    """ModelStreamInfer, ``concurrency`` in flight on one stream."""
    message, room = request(), asyncio.Semaphore(concurrency)

    async def requests() -> AsyncIterator[Any]:
        for _ in range(count):
            await room.acquire()
            yield message

    async with _channel(port) as channel:
        async for answer in Stub(channel).ModelStreamInfer(requests(), timeout=120):
            room.release()
            if answer.error_message:
                raise RuntimeError(answer.error_message)


async def frames(port: int, count: int, concurrency: int) -> None:
    """Infer with inline pictures of 1 KiB, ``concurrency`` in flight on one stream."""
    picture, room = Picture("image/jpeg", bytes(1024)), asyncio.Semaphore(concurrency)

    async def pictures() -> AsyncIterator[Frame]:
        for number in range(count):
            await room.acquire()
            yield Frame(str(number), picture)

    async with _channel(port) as channel:
        async for answer in RouterClient(channel).infer_frames(MODEL, pictures(), timeout_s=120):
            room.release()
            if not answer.ok:
                raise RuntimeError(answer.message)


def _channel(port: int) -> grpc.aio.Channel:
    return connect(f"127.0.0.1:{port}")


async def measured(row: Row, requests: int, concurrency: int) -> float:
    """CPU milliseconds for each request."""
    count = len(row.peers)

    async def make(requests: int) -> None:
        if row.apart:
            async with asyncio.TaskGroup() as group:
                for peer in row.peers:
                    group.create_task(_awaited(row.make(peer.port, requests // count, concurrency)))
        else:
            # As much at once for each: half as much would be more waking up for each request.
            await row.make(row.peers[0].port, requests, concurrency * count)

    await make(max(50, requests // 10))
    before = sum(peer.cpu_s() for peer in row.peers)
    await make(requests)
    return (sum(peer.cpu_s() for peer in row.peers) - before) * 1000 / requests


async def _awaited(made: Awaitable[None]) -> None:
    await made


def called(core: int, endpoint_port: int, requests: int, concurrency: int) -> float:
    """CPU milliseconds of a bare signed call, the router's client and signature alone."""
    made = subprocess.run(
        [
            *("taskset", "-c", str(core), sys.executable, PEERS, "caller"),
            *("--url", f"http://127.0.0.1:{endpoint_port}"),
            *("--requests", str(requests), "--concurrency", str(concurrency)),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(json.loads(made.stdout)["cpu_ms"])


async def rounds(
    rows: list[Row], endpoint_port: int, arguments: argparse.Namespace
) -> dict[str, list[float]]:
    """Figures of every round, by what was measured."""
    figures: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        for row in rows:
            value = await measured(row, arguments.requests, arguments.concurrency)
            figures.setdefault(row.name, []).append(value)
        value = await asyncio.to_thread(
            called,
            arguments.core,
            endpoint_port,
            arguments.requests,
            arguments.concurrency,
        )
        figures.setdefault("bare signed call", []).append(value)
    return figures


def report(figures: dict[str, list[float]]) -> None:
    """A table for people: medians, and each row against its yardsticks of the same round."""
    head = f"{'CPU ms per request':20} {'median':>7} {'least':>7} {'bar':>6} "
    lines = [head + f"{'÷ echo':>7} {'÷ halves':>9}"]
    for name, values in figures.items():
        bar = f"{BARS_MS[name]:.2f}" if name in BARS_MS else ""
        echo = figures["echo unary" if "unary" in name else "echo stream"]
        halves = [a + b for a, b in zip(echo, figures["bare signed call"], strict=True)]
        ratios = ("", "")
        if "echo" not in name and "bare" not in name:
            ratios = (f"{_ratio(values, echo):.2f}", f"{_ratio(values, halves):.2f}")
        lines.append(
            f"{name:20} {statistics.median(values):7.3f} {min(values):7.3f} {bar:>6} "
            f"{ratios[0]:>7} {ratios[1]:>9}"
        )
    lines.append(f"{'Envoy, published':20} {ENVOY_HOP_MS:7.2f}   (not measured here; see stand.py)")
    ratio = _ratio(figures[CONCERTED], figures[APART])
    lines.append(f"two processes on one port cost {ratio:.2f} times two apart (bar 1.1)")
    sys.stdout.write("\n".join(lines) + "\n")


def _ratio(values: list[float], of: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(values, of, strict=True))


def main() -> None:
    """Starts everything, measures, prints."""
    quick = {"requests": 500, "rounds": 2}
    numbers = {"requests": 2000, "rounds": 5, "concurrency": 8}
    arguments = options(__doc__, quick=quick, as_json=True, **numbers)
    core = arguments.core
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        served = stack.enter_context(endpoint(arguments.other_core, folder))
        url = f"http://127.0.0.1:{served.port}"
        echo = stack.enter_context(started(core, [PEERS, "echo"], folder / "echo.log"))
        sdk = stack.enter_context(started(core, [PEERS, "sdk", "--url", url], folder / "sdk.log"))
        ours = stack.enter_context(router(core, folder, served))
        other = stack.enter_context(router(core, folder, served, name="other"))
        first = stack.enter_context(router(core, folder, served, "--reuse-port", name="first"))
        shared = ("--reuse-port", "--listen", f"127.0.0.1:{first.port}")
        second = stack.enter_context(router(core, folder, served, *shared, name="second"))
        rows = [
            Row("unary", unary, (ours,)),
            Row("stream", stream, (ours,)),
            Row("frames", frames, (ours,)),
            Row(CONCERTED, unary, (first, second)),
            Row(APART, unary, (ours, other), apart=True),
            Row("stock SDK unary", unary, (sdk,)),
            Row("stock SDK stream", stream, (sdk,)),
            Row("echo unary", unary, (echo,)),
            Row("echo stream", stream, (echo,)),
        ]
        figures = uvloop.run(rounds(rows, served.port, arguments))
    if arguments.json:
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        report(figures)


if __name__ == "__main__":
    main()
