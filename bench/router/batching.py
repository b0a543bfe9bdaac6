"""The router with and without `dynamic_batching` before the same endpoint, in turn, in one run.

Requests of 1 KiB on one ModelStreamInfer stream, 32 in flight. The endpoint takes so many requests
at a time and as long for a batch as for one row, as an accelerator that is not full does; with
`--slots 0` it answers at once, which shows what batching costs where it gains least. CPU is the
router's alone (`/proc/<pid>/task/*/schedstat`); rounds alternate.

    .venv/bin/python bench/router/batching.py [--quick] [--slots 2] [--service-ms 5] [--json]
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop
from cpu_per_request import stream
from endpoint import MAX_ROWS, MODEL
from stand import Peer, endpoint, options, router

from simcloud.oip.service import Stub
from simcloud.oip.tensors import new
from simcloud.rpc.channel import connect

IN_FLIGHT = 32


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one round of one router."""

    cpu_ms: float
    """Milliseconds on a core for each row."""
    executions: float
    """Requests to the endpoint for each row."""
    rows_per_s: float


async def counted(port: int) -> tuple[int, int]:
    """Rows that were answered so far, and the requests to the endpoint that they took."""
    request = new("ModelStatisticsRequest")
    request.name = MODEL
    async with connect(f"127.0.0.1:{port}") as channel:
        (told,) = (await Stub(channel).ModelStatistics(request)).model_stats
    return told.inference_count, told.execution_count


async def measured(peer: Peer, requests: int) -> Figures:
    """One round."""
    await stream(peer.port, max(50, requests // 10), IN_FLIGHT)
    rows, executions = await counted(peer.port)
    cpu_s, begun = peer.cpu_s(), time.perf_counter()
    await stream(peer.port, requests, IN_FLIGHT)
    seconds, cpu_s = time.perf_counter() - begun, peer.cpu_s() - cpu_s
    rows_now, executions_now = await counted(peer.port)
    answered = rows_now - rows
    if answered != requests:
        raise RuntimeError(f"{requests} rows were sent, {answered} answered")
    return Figures(
        cpu_ms=cpu_s * 1000 / requests,
        executions=(executions_now - executions) / requests,
        rows_per_s=requests / seconds,
    )


async def rounds(peers: dict[str, Peer], *, requests: int, number: int) -> dict[str, list[Figures]]:
    """Rounds of both, in turn."""
    figures: dict[str, list[Figures]] = {name: [] for name in peers}
    for _ in range(number):
        for name, peer in peers.items():
            figures[name].append(await measured(peer, requests))
    return figures


def report(figures: dict[str, list[Figures]]) -> None:
    """A table for people: medians, and the ratio of the two, round by round."""
    lines = [f"{'':10} {'CPU ms/row':>11} {'requests/row':>13} {'rows/s':>8}"]
    for name, found in figures.items():
        lines.append(
            f"{name:10} {statistics.median(each.cpu_ms for each in found):11.3f} "
            f"{statistics.median(each.executions for each in found):13.3f} "
            f"{statistics.median(each.rows_per_s for each in found):8.0f}"
        )
    pairs = list(zip(figures["batched"], figures["single"], strict=True))
    lines.append(
        f"{'ratio':10} {statistics.median(a.cpu_ms / b.cpu_ms for a, b in pairs):11.2f} "
        f"{statistics.median(a.executions / b.executions for a, b in pairs):13.2f} "
        f"{statistics.median(a.rows_per_s / b.rows_per_s for a, b in pairs):8.2f}"
    )
    sys.stdout.write("\n".join(lines) + "\n")


def main() -> None:
    """Starts everything, measures, prints."""
    quick = {"requests": 1000, "rounds": 2}
    numbers = {"requests": 4000, "rounds": 5, "slots": 2, "service_ms": 5.0}
    arguments = options(__doc__, quick=quick, as_json=True, **numbers)
    core = arguments.core
    served_by = ("--slots", str(arguments.slots), "--service-ms", str(arguments.service_ms))
    slots = str(arguments.slots or 8)
    limits = ("--limiter-start", slots, "--limiter-maximum", slots)
    sizes: dict[str, object] = {"max_batch_size": MAX_ROWS}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        served = stack.enter_context(endpoint(arguments.other_core, folder, *served_by))
        single = stack.enter_context(
            router(core, folder, served, *limits, name="single", changes=sizes)
        )
        changes: dict[str, object] = {**sizes, "picture_codec": None, "dynamic_batching": {}}
        batched = stack.enter_context(
            router(core, folder, served, *limits, name="batched", changes=changes)
        )
        peers = {"single": single, "batched": batched}
        figures = uvloop.run(rounds(peers, requests=arguments.requests, number=arguments.rounds))
    if arguments.json:
        plain = {name: [asdict(each) for each in found] for name, found in figures.items()}
        sys.stdout.write(json.dumps(plain) + "\n")
    else:
        report(figures)


if __name__ == "__main__":
    main()
