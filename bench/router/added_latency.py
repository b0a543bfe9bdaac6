"""What the router adds to a request, beside LiteLLM's proxy: time and CPU, at one steady rate.

Both stand before the same endpoint, which answers at once, each on the same core in turn, and what
asks is on the other. They speak differently: the router takes a tensor of 1 KiB by gRPC, LiteLLM a
prompt of 1 KiB as JSON, for it knows language models alone. LiteLLM runs unmodified in an
environment of its own, with one worker and without a database, a key or a log line a request.

    .venv/bin/python bench/router/added_latency.py [--rate 10] [--quick]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import uvloop
from grpc_load import Load, Outcome
from stand import HERE, INFER_PATH, Peer, endpoint, options, request, router, started

CONNECTIONS: Final = 8
PROMPT: Final = "word " * 204 + "end"
"""1 KiB, as the tensor is."""
LITELLM: Final = HERE / "litellm"

Ask = Callable[[Peer, float, float], Awaitable[Outcome]]
"""Asks at a steady rate for some seconds."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to the endpoint."""

    name: str
    peer: Peer
    ask: Ask


async def by_grpc(peer: Peer, rate: float, seconds: float) -> Outcome:
    """Tensors through the router."""
    message = request().SerializeToString()
    async with Load(peer.port, path=INFER_PATH, message=message, connections=CONNECTIONS) as load:
        outcome = await load.open(rate=rate, seconds=seconds)
    if outcome.failed:
        raise RuntimeError(f"{outcome.failed} calls failed")
    return outcome


async def by_chat(peer: Peer, rate: float, seconds: float) -> Outcome:
    """Prompts through LiteLLM."""
    body = {"model": "text", "messages": [{"role": "user", "content": PROMPT}]}
    return await _posts(f"http://127.0.0.1:{peer.port}/v1/chat/completions", body, rate, seconds)


async def straight(peer: Peer, rate: float, seconds: float) -> Outcome:
    """Prompts to the endpoint itself, unsigned."""
    url = f"http://127.0.0.1:{peer.port}/endpoints/text/invocations"
    return await _posts(url, {"inputs": PROMPT}, rate, seconds)


async def _posts(url: str, content: object, rate: float, seconds: float) -> Outcome:
    outcome, body = Outcome(), json.dumps(content).encode()
    async with _session() as session:

        async def one(due: float) -> None:
            async with session.post(url, data=body) as answer:
                said = await answer.read()
                if answer.status != 200:
                    raise RuntimeError(f"HTTP {answer.status}: {said[:500]!r}")
            outcome.latencies_s.append(time.perf_counter() - due)

        begun, total = time.perf_counter(), round(rate * seconds)
        async with asyncio.TaskGroup() as group:
            for number in range(total):
                due = begun + number / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                group.create_task(one(due))
    return outcome


@asynccontextmanager
async def _session() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    headers = {"content-type": "application/json"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        yield session


async def measure(ways: list[Way], arguments: argparse.Namespace) -> None:
    """All ways in turn, round by round; prints medians over the rounds."""
    found: dict[str, list[tuple[float, float, float]]] = {way.name: [] for way in ways}
    for way in ways:
        await way.ask(way.peer, arguments.rate, arguments.seconds / 2)
    for _ in range(arguments.rounds):
        for way in ways:
            before = way.peer.cpu_s()
            outcome = await way.ask(way.peer, arguments.rate, arguments.seconds)
            cpu_ms = (way.peer.cpu_s() - before) * 1000 / len(outcome.latencies_s)
            p50_ms, p99_ms = outcome.percentile_ms(0.5), outcome.percentile_ms(0.99)
            found[way.name].append((p50_ms, p99_ms, cpu_ms))
    medians = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)]
        for name, rows in found.items()
    }
    base = medians[ways[0].name]
    head = f"at {arguments.rate:g}/s"
    lines = [f"{head:12} {'p50 ms':>8} {'p99 ms':>8} {'added p50':>10} {'CPU ms':>8}"]
    for name, (p50_ms, p99_ms, cpu_ms) in medians.items():
        added = f"{p50_ms - base[0]:.2f}" if name != ways[0].name else ""
        lines.append(f"{name:12} {p50_ms:8.2f} {p99_ms:8.2f} {added:>10} {cpu_ms:8.3f}")
    sys.stdout.write("\n".join(lines) + "\n")


def litellm_python() -> str:
    """Python of LiteLLM's environment, made when it is not there."""
    command = [sys.executable, str(HERE.parents[1] / "scripts" / "tool-env"), str(LITELLM)]
    made = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return made.stdout.strip()


def main() -> None:
    """Starts everything, measures, prints."""
    quick = {"seconds": 2.0, "rounds": 2}
    arguments = options(__doc__, quick=quick, rate=10.0, seconds=5.0, rounds=5)
    python = litellm_python()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder, core = Path(name), arguments.core
        served = stack.enter_context(endpoint(arguments.other_core, folder))
        ours = stack.enter_context(router(core, folder, served))
        command = [str(LITELLM / "proxy.py"), f"http://127.0.0.1:{served.port}"]
        theirs = stack.enter_context(started(core, command, folder / "litellm.log", python=python))
        ways = [
            Way("endpoint", served, straight),
            Way("router", ours, by_grpc),
            Way("LiteLLM", theirs, by_chat),
        ]
        uvloop.run(measure(ways, arguments))


if __name__ == "__main__":
    main()
