"""How many requests a second one core of router takes, and what it adds to them at 70 % of that.

First as many as it takes, with the proof that it was the bottleneck: of the time that other
processes left it of its core, it used 95 % or more. Then requests at a steady 70 % of that rate,
whatever becomes of the earlier ones, straight to the endpoint and through the router in turn: what
the router adds is the difference. On a machine that does other work latencies are that work's.

    .venv/bin/python bench/router/saturation.py [--quick]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop
from endpoint import FLOATS, MODEL
from grpc_load import Load, Outcome, Schedule
from stand import (
    INFER_PATH,
    Peer,
    core_idle_s,
    core_interrupts_s,
    endpoint,
    options,
    request,
    router,
)
from yarl import URL

from simcloud_inference_router.targets.base import Failure
from simcloud_inference_router.targets.target_pool import open_target_pool

SHARE: Final = 0.7
BUSY_BAR: Final = 0.95
ADDED_BAR_MS: Final = 5.0
OTHERS_BAR_S: Final = 0.02
"""What others may have of a core in a round that counts. Who takes it away for 0.1 s makes a tenth
of a second's requests wait, whatever the router does: of those of a round, more than one in 100."""
TRIES: Final = 12
"""Rounds made at most, for each that counts."""
CONNECTIONS: Final = 8
CONCURRENCY: Final = 64


async def saturate(peer: Peer, core: int, calls: int) -> tuple[float, float]:
    """Requests a second at most, and which share of what it was left of its core it used."""
    message = request().SerializeToString()
    async with Load(peer.port, path=INFER_PATH, message=message, connections=CONNECTIONS) as load:
        await load.closed(concurrency=CONCURRENCY, calls=calls // 5)
        cpu_s, idle_s = peer.cpu_s(), core_idle_s(core)
        outcome = await load.closed(concurrency=CONCURRENCY, calls=calls)
        used_s, idle_s = peer.cpu_s() - cpu_s, core_idle_s(core) - idle_s
    if outcome.failed:
        raise RuntimeError(f"{outcome.failed} calls failed")
    return outcome.answered / outcome.seconds, used_s / (used_s + idle_s)


async def through_router(peer: Peer, rate: float, seconds: float) -> Outcome:
    """Requests at a steady rate through the router."""
    message = request().SerializeToString()
    async with Load(peer.port, path=INFER_PATH, message=message, connections=CONNECTIONS) as load:
        await load.closed(concurrency=CONCURRENCY, calls=200)
        return await load.open(rate=rate, seconds=seconds)


async def direct(peer: Peer, rate: float, seconds: float) -> Outcome:
    """The same straight to the endpoint, unsigned."""
    url = URL(f"http://127.0.0.1:{peer.port}/endpoints/{MODEL}/invocations")
    outcome, body = Outcome(), bytes(4 * FLOATS)
    async with open_target_pool(
        connect_timeout_s=5, keepalive_s=12, max_answer_bytes=1 << 20
    ) as pool:

        async def one(due: float) -> None:
            answer = await pool.post(target=MODEL, url=url, headers={}, body=body, timeout_s=30)
            if isinstance(answer, Failure):
                raise answer.error
            outcome.latencies_s.append(time.perf_counter() - due)

        schedule = Schedule(rate=rate, seconds=seconds)
        async with asyncio.TaskGroup() as group:
            async for due in schedule:
                group.create_task(one(due))
    outcome.stalled_s = schedule.stalled_s
    return outcome


@dataclass(frozen=True, slots=True)
class Round:
    """What requests took at a steady rate, and how much of the two cores others had meanwhile."""

    most: float
    """Requests a second, just before: a core is faster and slower as its neighbours do less and
    more."""
    busy: float
    straight: Outcome
    routed: Outcome
    others_s: float

    @property
    def counts(self) -> bool:
        """Whether the router had what it was measured on."""
        return self.others_s <= OTHERS_BAR_S

    @property
    def added_ms(self) -> float:
        """What the router adds to the 99th percentile."""
        return self.routed.percentile_ms(0.99) - self.straight.percentile_ms(0.99)


class Others:
    """Time in which cores were neither idle nor ours: other processes', or the hypervisor's.

    Args:
        cores: by core, the CPU time of our processes on it so far.
    """

    def __init__(self, cores: Mapping[int, Callable[[], float]]) -> None:
        self._cores = cores
        self._begun = self._now()

    def seconds(self) -> float:
        """Since it was made, on the core that lost most."""
        return max(now - then for now, then in zip(self._now(), self._begun, strict=True))

    def _now(self) -> list[float]:
        return [
            time.perf_counter() - core_idle_s(core) - core_interrupts_s(core) - own_s()
            for core, own_s in self._cores.items()
        ]


async def one_round(ours: Peer, served: Peer, arguments: argparse.Namespace) -> Round:
    """As much as goes, then 70 % of it straight to the endpoint and through the router."""
    most, busy = await saturate(ours, arguments.core, arguments.calls)
    rate = most * SHARE
    straight = await direct(served, rate, arguments.seconds)
    others = Others(
        {
            arguments.core: ours.cpu_s,
            arguments.other_core: lambda: served.cpu_s() + time.process_time(),
        }
    )
    used_s, begun = ours.cpu_s(), time.perf_counter()
    routed = await through_router(ours, rate, arguments.seconds)
    used = (ours.cpu_s() - used_s) / (time.perf_counter() - begun)
    found = Round(most, busy, straight, routed, others.seconds())
    counts = "counts" if found.counts else "does not count"
    sys.stdout.write(f"saturated at {most:.0f}/s, {busy:.1%} of the core used\n")
    for name, outcome in (("endpoint", straight), ("router", routed)):
        shares = [f"p{share * 100:g} {outcome.percentile_ms(share):.2f}" for share in (0.5, 0.99)]
        sys.stdout.write(
            f"  at {rate:.0f}/s {name:8} {' ms, '.join(shares)} ms, {outcome.failed} refused; the "
            f"sender stood still for {outcome.stalled_s:.2f} s\n"
        )
    sys.stdout.write(
        f"  used {used:.1%}; others had a core for {found.others_s:.3f} s meanwhile: {counts}\n"
    )
    return found


async def measure(ours: Peer, served: Peer, arguments: argparse.Namespace) -> bool:
    """Prints the figures; whether all bars are reached."""
    found: list[Round] = []
    quiet: list[Round] = []
    while len(quiet) < arguments.rounds and len(found) < arguments.rounds * TRIES:
        found.append(await one_round(ours, served, arguments))
        quiet = [each for each in found if each.counts]
    most = statistics.median(each.most for each in found)
    busy = statistics.median(each.busy for each in found)
    sys.stdout.write(f"median: saturated at {most:.0f}/s, {busy:.1%} of its core used (bar 95 %)\n")
    if len(quiet) < arguments.rounds:
        sys.stdout.write(
            f"only {len(quiet)} rounds of {arguments.rounds} had both cores for themselves: "
            "measure on an idle machine\n"
        )
        return False
    p99_ms = statistics.median(each.added_ms for each in quiet)
    refused = sum(each.routed.failed for each in quiet)
    sys.stdout.write(
        f"p99 added at {SHARE:.0%}: {p99_ms:.2f} ms (bar {ADDED_BAR_MS:g}), {refused} refused "
        "(bar 0)\n"
    )
    return busy >= BUSY_BAR and p99_ms < ADDED_BAR_MS and not refused


def main() -> None:
    """Starts everything, measures, prints; the exit code is 1 if a bar is missed."""
    quick = {"calls": 1000, "seconds": 1.0, "rounds": 2}
    arguments = options(__doc__, quick=quick, calls=3000, seconds=1.0, rounds=5)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        served = stack.enter_context(endpoint(arguments.other_core, folder))
        more = ("--limiter-maximum", "256", "--limiter-start", "128")
        ours = stack.enter_context(router(arguments.core, folder, served, *more))
        reached = uvloop.run(measure(ours, served, arguments))
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()
