"""CPU of the transport alone: our gRPC server over HTTP/2 beside grpc.aio's, in turn, in one run.

Bare echoes without interceptors, each in a process of its own on one core, the client on another.
CPU is the time on a core of all the server's threads. Figures are a median over the rounds, the
ratio that of the same round.

    .venv/bin/python bench/router/transport_cost.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc.aio
import uvloop
from grpc_load import Load
from stand import HERE, Peer, options, started
from transport_peers import MAX_BYTES, SERVICE

SCRIPT: Final = str(HERE / "transport_peers.py")
MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Row:
    """What is measured."""

    name: str
    size: int
    """Of a message, bytes; it is sent back."""
    at_once: int
    stream: bool
    share: float = 1.0
    """Of the requests that small messages have."""


ROWS: Final = (
    Row("unary, 1 KiB, 8 at once", 1024, 8, stream=False),
    Row("unary, 1 KiB, one by one", 1024, 1, stream=False),
    Row("stream, 1 KiB, 8 at once", 1024, 8, stream=True),
    Row("stream, 1 KiB, one by one", 1024, 1, stream=True),
    Row("stream, 1 MiB, 4 at once", MIB, 4, stream=True, share=0.1),
    Row("stream, 16 MiB, one by one", 16 * MIB, 1, stream=True, share=0.01),
)


async def unary(port: int, row: Row, count: int) -> None:
    """Calls on one connection."""
    async with Load(port, path=f"/{SERVICE}/One", message=bytes(row.size)) as load:
        outcome = await load.closed(concurrency=row.at_once, calls=count)
    if outcome.failed:
        raise RuntimeError(f"{outcome.failed} calls failed")


async def stream(port: int, row: Row, count: int) -> None:
    """Messages of one stream."""
    message, room = bytes(row.size), asyncio.Semaphore(row.at_once)

    async def messages() -> AsyncIterator[bytes]:
        for _ in range(count):
            await room.acquire()
            yield message

    options = [
        ("grpc.max_receive_message_length", MAX_BYTES),
        ("grpc.max_send_message_length", MAX_BYTES),
    ]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        answers = 0
        many: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            f"/{SERVICE}/Many"
        )
        async for _ in many(messages()):
            room.release()
            answers += 1
    if answers != count:
        raise RuntimeError(f"{answers} answers to {count} messages")


async def measured(peer: Peer, row: Row, requests: int) -> float:
    """CPU milliseconds for each message and its answer."""
    make, count = stream if row.stream else unary, max(4, round(requests * row.share))
    await make(peer.port, row, max(2, count // 10))
    before = peer.cpu_s()
    await make(peer.port, row, count)
    return (peer.cpu_s() - before) * 1000 / count


async def rounds(
    peers: dict[str, Peer], arguments: argparse.Namespace
) -> dict[str, dict[str, list[float]]]:
    """Figures of every round, by what was measured and whose they are."""
    figures: dict[str, dict[str, list[float]]] = {
        row.name: {name: [] for name in peers} for row in ROWS
    }
    for _ in range(arguments.rounds):
        for row in ROWS:
            for name, peer in peers.items():
                value = await measured(peer, row, arguments.requests)
                figures[row.name][name].append(value)
    return figures


def report(figures: dict[str, dict[str, list[float]]]) -> None:
    """A table for people."""
    lines = [f"{'CPU ms per message':28} {'ours':>8} {'grpc.aio':>9} {'ratio':>6}"]
    for name, values in figures.items():
        ours, stock = values["ours"], values["grpc"]
        ratio = statistics.median(a / b for a, b in zip(ours, stock, strict=True))
        lines.append(
            f"{name:28} {statistics.median(ours):8.4f} {statistics.median(stock):9.4f} {ratio:6.2f}"
        )
    sys.stdout.write("\n".join(lines) + "\n")


def main() -> None:
    """Starts both, measures, prints."""
    quick = {"requests": 1000, "rounds": 2}
    arguments = options(__doc__, quick=quick, as_json=True, requests=5000, rounds=5)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        peers = {
            role: stack.enter_context(
                started(arguments.core, [SCRIPT, role], Path(name) / f"{role}.log")
            )
            for role in ("ours", "grpc")
        }
        figures = uvloop.run(rounds(peers, arguments))
    if arguments.json:
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        report(figures)


if __name__ == "__main__":
    main()
