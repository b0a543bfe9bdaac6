"""Ten times as much as an endpoint can do: what still gets through, and how soon all is well again.

The endpoint serves 4 at a time, 20 ms each: 200 a second. Goodput is what is answered: at most (a
few more at once than are served), under ten times 200/s, and at half of 200/s again. Bars: under
overload at least 0.9 of the most, memory flat, and within 10 s of its end 99 % answered again.
`--service-ms` slows everything down alike, for a machine whose core is too busy with other work to
refuse 1800 requests a second beside it: then it is the core's overload, not the endpoint's.

Then the router's own overload: an endpoint that answers at once, and more requests than one core of
router takes. What is told is what is still answered, as a share of the most.

    .venv/bin/python bench/router/overload.py [--quick] [--service-ms 20]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import uvloop
from grpc_load import Load
from saturation import saturate
from stand import INFER_PATH, Peer, endpoint, options, request, router

SLOTS: Final = 4
GOODPUT_BAR: Final = 0.9
RECOVERY_BAR_S: Final = 10.0
OWN: Final = (1.15, 1.5)
"""How much is offered to a router that is itself the bottleneck, of what it takes."""
CONNECTIONS: Final = 8
MEMORY_BAR_MIB: Final = 16.0
"""Growth in the second half of the overload; the first fills caches and pools."""


async def peak(load: Load, capacity: float, seconds: float) -> float:
    """The most that gets through: as many at once as the endpoint takes, with some to wait."""
    outcomes = [
        await load.closed(concurrency=SLOTS + waiting, calls=round(capacity * seconds / 3))
        for waiting in (0, 2, 4)
    ]
    return max(outcome.answered / outcome.seconds for outcome in outcomes)


async def recovery_s(load: Load, capacity: float) -> float:
    """Seconds until 99 % of half the capacity is answered for a second."""
    begun = time.perf_counter()
    while True:
        outcome = await load.open(rate=capacity / 2, seconds=1)
        took_s = time.perf_counter() - begun
        if outcome.answered >= 0.99 * (outcome.answered + outcome.failed):
            return took_s - 1
        if took_s > 60:
            return took_s


async def overloaded(
    load: Load, ours: Peer, capacity: float, seconds: float
) -> tuple[float, float]:
    """Goodput under ten times the capacity, and MiB by which memory grew in the second half."""
    async with asyncio.TaskGroup() as group:
        offered = group.create_task(load.open(rate=capacity * 10, seconds=seconds))
        # The first fifth fills the queues.
        await asyncio.sleep(seconds / 5)
        counts = [(time.perf_counter(), load.answered, load.failed, ours.memory_mib())]
        for _ in range(4):
            await asyncio.sleep(seconds / 5)
            counts.append((time.perf_counter(), load.answered, load.failed, ours.memory_mib()))
            (then, answers, failures, _), (now, more_answers, more_failures, memory) = counts[-2:]
            sys.stdout.write(
                f"  offered {capacity * 10:.0f}/s: {(more_answers - answers) / (now - then):.0f}/s "
                f"answered, {(more_failures - failures) / (now - then):.0f}/s refused, "
                f"{memory:.1f} MiB\n"
            )
    sys.stdout.write(f"  of those answered, p99 {offered.result().percentile_ms(0.99):.0f} ms\n")
    got = (counts[-1][1] - counts[0][1]) / (counts[-1][0] - counts[0][0])
    return got, counts[-1][3] - counts[2][3]


async def of_itself(ours: Peer, core: int, seconds: float) -> None:
    """Prints what a router answers of more than its core takes."""
    message = request().SerializeToString()
    most, _ = await saturate(ours, core, 3000)
    for share in OWN:
        async with Load(
            ours.port, path=INFER_PATH, message=message, connections=CONNECTIONS
        ) as load:
            await load.closed(concurrency=64, calls=200)
            outcome = await load.open(rate=most * share, seconds=seconds)
        got = outcome.answered / outcome.seconds
        sys.stdout.write(
            f"its own core offered {share:g} of the {most:.0f}/s that it takes: {got:.0f}/s "
            f"answered, {got / most:.2f} of the most, p50 {outcome.percentile_ms(0.5):.0f} ms, "
            f"{outcome.failed / outcome.seconds:.0f}/s refused\n"
        )


async def measure(ours: Peer, capacity: float, seconds: float) -> bool:
    """Prints the figures; whether all bars are reached."""
    message = request().SerializeToString()
    async with Load(ours.port, path=INFER_PATH, message=message, connections=CONNECTIONS) as load:
        most = await peak(load, capacity, seconds / 2)
        sys.stdout.write(f"peak {most:.0f}/s of {capacity:.0f}/s\n")
        got, grown = await overloaded(load, ours, capacity, seconds)
        after_s = await recovery_s(load, capacity)
    kept = got / most
    sys.stdout.write(
        f"goodput {kept:.2f} of the peak (bar {GOODPUT_BAR}), memory {grown:+.1f} MiB in the "
        f"second half (bar {MEMORY_BAR_MIB:g}), all answered again after {after_s:.1f} s "
        f"(bar {RECOVERY_BAR_S:g})\n"
    )
    return kept >= GOODPUT_BAR and grown <= MEMORY_BAR_MIB and after_s <= RECOVERY_BAR_S


def main() -> None:
    """Starts everything, measures, prints; the exit code is 1 if a bar is missed."""
    # Seconds are those of overload.
    arguments = options(__doc__, quick={"seconds": 6.0}, seconds=20.0, service_ms=20.0)
    slots = ("--slots", str(SLOTS), "--service-ms", str(arguments.service_ms), "--queue", "4")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        served = stack.enter_context(endpoint(arguments.other_core, folder, *slots))
        ours = stack.enter_context(router(arguments.core, folder, served))
        reached = uvloop.run(measure(ours, SLOTS * 1000 / arguments.service_ms, arguments.seconds))
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        served = stack.enter_context(endpoint(arguments.other_core, folder))
        more = ("--limiter-maximum", "256", "--limiter-start", "128")
        ours = stack.enter_context(router(arguments.core, folder, served, *more))
        uvloop.run(of_itself(ours, arguments.core, arguments.seconds / 5))
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()
