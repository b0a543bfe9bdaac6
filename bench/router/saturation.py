"""How many requests a second one core of router takes, and what it adds to them at 70 % of it.

First as many as it takes, with the proof that it was the bottleneck: of the time that other
processes left it of its core, it used 95 % or more. Then requests at a steady rate, whatever
becomes of the earlier ones, straight to the endpoint and through the router in turn: what the
router adds is the difference. The rates are shares of the most, and the one at which it uses 70 %
of its core: where the autoscaler keeps it (deploy/k8s). That is less than 70 % of the most: what
comes singly costs more than what comes by the dozen. Requests that were due while a hypervisor or
another process had a core do not count, straight or routed; how many those were is told. Beside it
a bare grpc.aio server that echoes, at 70 % of what it takes itself.

    .venv/bin/python bench/router/saturation.py [--quick]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvloop
from endpoint import FLOATS, MODEL
from grpc_load import Load, Outcome, Schedule
from stand import (
    HERE,
    INFER_PATH,
    Peer,
    core_idle_s,
    core_stolen_s,
    endpoint,
    options,
    request,
    router,
    started,
)
from yarl import URL

from simcloud_inference_router.targets.base import Failure
from simcloud_inference_router.targets.target_pool import open_target_pool

SHARES: Final = (0.3, 0.5, 0.7)
"""Of the most."""
GAUGED: Final = 0.5
"""Where it is seen how much of the core a request costs when the core is no longer full."""
CORE_BAR: Final = 0.7
"""Share of the core at which the router adds what has a bar."""
NEAR: Final = 0.05
"""By how much less than that it may have been: the rate is reckoned from another's."""
AT_CORE: Final = f"{CORE_BAR:.0%} of the core"
ECHO_SHARE: Final = 0.7
"""Of the echo's most."""
BUSY_BAR: Final = 0.95
ADDED_BAR_MS: Final = 5.0
LOOK_S: Final = 0.05
"""How often it is looked whether somebody had a core."""
WAIT_S: Final = 0.001
"""What the router may wait for its core in such a time."""
AFTER: Final = 3
"""Such times that do not count after one in which somebody had: what has piled up is served in
them, which at 70 % of what a core can do takes several times as long as the stall."""
TRIES: Final = 8
"""Rounds made at most, for each that was asked for."""
LEAST: Final = 500
"""Requests of a round, for it to have a 99th percentile."""
CONNECTIONS: Final = 8
CONCURRENCY: Final = 64


class Disturbed:
    """When others had a core: looked at now and then while the block runs.

    Args:
        peer: whose core it is.
        cores: of it, and of client and endpoint.
    """

    def __init__(self, peer: Peer, cores: tuple[int, ...]) -> None:
        self._peer, self._cores = peer, cores
        self._at: list[float] = []
        self._seen: list[tuple[float, float]] = []

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Looks until the block is left."""
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(self._look_on())
            try:
                yield
            finally:
                looking.cancel()
                self._look()

    async def _look_on(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(LOOK_S)

    def _look(self) -> None:
        self._at.append(time.perf_counter())
        stolen_s = sum(core_stolen_s(core) for core in self._cores)
        self._seen.append((stolen_s, self._peer.waited_s()))

    def left(self, outcome: Outcome) -> Outcome:
        """The calls that were due while nobody else had a core."""
        pairs = list(zip(self._seen, self._seen[1:], strict=False))
        # Of a look to the next. Ticks of a stolen core come up to one look late.
        had = [b[0] > a[0] or b[1] - a[1] > WAIT_S for a, b in pairs]
        quiet = [not any(had[max(0, i - AFTER) : i + 2]) for i in range(len(had))]

        def counts(due: float) -> bool:
            index = bisect_right(self._at, due) - 1
            return 0 <= index < len(quiet) and quiet[index]

        answered = zip(outcome.due_at, outcome.latencies_s, strict=True)
        kept = Outcome([latency_s for due, latency_s in answered if counts(due)])
        kept.failed = sum(map(counts, outcome.failed_at))
        return kept


def add(mine: Outcome, more: Outcome) -> None:
    """Adds what counts of a round."""
    mine.latencies_s += more.latencies_s
    mine.failed += more.failed


@dataclass(slots=True)
class AtShare:
    """The requests at one rate that count, all rounds together."""

    straight: Outcome = field(default_factory=Outcome)
    routed: Outcome = field(default_factory=Outcome)
    echoed: Outcome = field(default_factory=Outcome)
    """Of the echo, at a share of its own most."""
    made: int = 0
    used: list[float] = field(default_factory=list)
    """Share of its core that the router used, by round."""
    p99s: list[float] = field(default_factory=list)
    """What the router added to the 99th percentile, milliseconds, by round."""

    def added_ms(self, share: float) -> float:
        """What the router adds to a percentile."""
        return self.routed.percentile_ms(share) - self.straight.percentile_ms(share)


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


async def steady(peer: Peer, rate: float, seconds: float) -> Outcome:
    """Requests at a steady rate to the router, or the echo."""
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
            outcome.took(due)

        async with asyncio.TaskGroup() as group:
            async for due in Schedule(rate=rate, seconds=seconds):
                group.create_task(one(due))
    return outcome


async def one_echo(echo: Peer, arguments: argparse.Namespace, at: AtShare) -> None:
    """As much as the echo takes, then a share of it."""
    most, _ = await saturate(echo, arguments.core, arguments.calls)
    disturbed = Disturbed(echo, (arguments.core, arguments.other_core))
    async with disturbed.watched():
        used_s, begun = echo.cpu_s(), time.perf_counter()
        echoed = await steady(echo, most * ECHO_SHARE, arguments.seconds)
        used = (echo.cpu_s() - used_s) / (time.perf_counter() - begun)
    add(at.echoed, disturbed.left(echoed))
    p99_ms = echoed.percentile_ms(0.99)
    sys.stdout.write(
        f"  echo at {ECHO_SHARE:.0%} of its {most:.0f}/s: {used:.0%} of the core used, p99 of all "
        f"{p99_ms:.2f} ms\n"
    )


async def one_rate(
    ours: Peer,
    served: Peer,
    arguments: argparse.Namespace,
    *,
    rate: float,
    name: str,
    at: AtShare,
) -> None:
    """So many requests a second straight to the endpoint and through the router, in turn."""
    disturbed = Disturbed(ours, (arguments.core, arguments.other_core))
    async with disturbed.watched():
        straight = await direct(served, rate, arguments.seconds)
        used_s, begun = ours.cpu_s(), time.perf_counter()
        routed = await steady(ours, rate, arguments.seconds)
        at.used.append((ours.cpu_s() - used_s) / (time.perf_counter() - begun))
    counted, compared = disturbed.left(routed), disturbed.left(straight)
    add(at.straight, compared)
    add(at.routed, counted)
    at.made += routed.answered + routed.failed
    if counted.answered >= LEAST and compared.answered >= LEAST:
        at.p99s.append(counted.percentile_ms(0.99) - compared.percentile_ms(0.99))
    sys.stdout.write(
        f"  {name}: {rate:.0f}/s, {at.used[-1]:.0%} of the core used, {counted.answered} of "
        f"{routed.answered} count, {routed.failed} refused; p99 of all "
        f"{routed.percentile_ms(0.99):.2f} ms, straight {straight.percentile_ms(0.99):.2f}\n"
    )


async def one_round(
    ours: Peer, served: Peer, arguments: argparse.Namespace, found: dict[str, AtShare]
) -> tuple[float, float]:
    """As much as goes, then less, straight to the endpoint and through the router."""
    most, busy = await saturate(ours, arguments.core, arguments.calls)
    sys.stdout.write(f"saturated at {most:.0f}/s, {busy:.1%} of the core used\n")
    for share in SHARES:
        await one_rate(
            ours,
            served,
            arguments,
            rate=most * share,
            name=_of_most(share),
            at=found[_of_most(share)],
        )
    # Of one round: a virtual core is a third faster or slower from one second to the next.
    rate = most * GAUGED * CORE_BAR / found[_of_most(GAUGED)].used[-1]
    await one_rate(ours, served, arguments, rate=rate, name=AT_CORE, at=found[AT_CORE])
    return most, busy


def _of_most(share: float) -> str:
    return f"{share:.0%} of the most"


async def measure(ours: Peer, served: Peer, echo: Peer, arguments: argparse.Namespace) -> bool:
    """Prints the figures; whether all bars are reached."""
    found = {name: AtShare() for name in (*map(_of_most, SHARES), AT_CORE)}
    barred = found[AT_CORE]
    rounds: list[tuple[float, float]] = []
    while len(rounds) < arguments.rounds or (
        barred.routed.answered < arguments.requests and len(rounds) < arguments.rounds * TRIES
    ):
        rounds.append(await one_round(ours, served, arguments, found))
        await one_echo(echo, arguments, barred)
    most, busy = (statistics.median(column) for column in zip(*rounds, strict=True))
    sys.stdout.write(f"median: saturated at {most:.0f}/s, {busy:.1%} of its core used (bar 95 %)\n")
    for name, at in found.items():
        _tell(name, at)
    if barred.echoed.answered:
        echoed_ms = barred.echoed.percentile_ms(0.99)
        sys.stdout.write(
            f"echo at {ECHO_SHARE:.0%} of its own, {barred.echoed.answered} count: p50 "
            f"{barred.echoed.percentile_ms(0.5):.2f} ms, p99 {echoed_ms:.2f} ms; the router's p99 "
            f"is {barred.routed.percentile_ms(0.99) / echoed_ms:.2f} of it\n"
        )
    if barred.routed.answered < arguments.requests or not barred.p99s:
        sys.stdout.write("too few requests count: measure on an idle machine\n")
        return False
    used = statistics.median(barred.used)
    if used < CORE_BAR - NEAR:
        sys.stdout.write(f"{used:.0%} of the core is less than the {CORE_BAR:.0%} that has a bar\n")
        return False
    added_ms = statistics.median(barred.p99s)
    return busy >= BUSY_BAR and added_ms < ADDED_BAR_MS and not barred.routed.failed


def _tell(name: str, at: AtShare) -> None:
    counted = at.routed.answered + at.routed.failed
    sys.stdout.write(
        f"at {name}, {statistics.median(at.used):.0%} of the core used, {counted} of "
        f"{at.made} requests count, {at.routed.failed} of them refused"
    )
    if at.routed.answered and at.straight.answered:
        for part in (0.5, 0.99):
            sys.stdout.write(
                f"; p{part * 100:g} {at.routed.percentile_ms(part):.2f} ms, "
                f"{at.added_ms(part):.2f} added"
            )
    if at.p99s:
        low, high = min(at.p99s), max(at.p99s)
        sys.stdout.write(
            f"; to the p99 of a round {statistics.median(at.p99s):.2f} ms added (median of "
            f"{len(at.p99s)}, {low:.2f} to {high:.2f})"
        )
        sys.stdout.write(f" (bar {ADDED_BAR_MS:g})" if name == AT_CORE else "")
    sys.stdout.write("\n")


def main() -> None:
    """Starts everything, measures, prints; the exit code is 1 if a bar is missed."""
    quick = {"calls": 1000, "seconds": 1.0, "rounds": 1, "requests": 500}
    arguments = options(__doc__, quick=quick, calls=3000, seconds=2.0, rounds=9, requests=10_000)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        served = stack.enter_context(endpoint(arguments.other_core, folder))
        more = ("--limiter-maximum", "256", "--limiter-start", "128")
        ours = stack.enter_context(router(arguments.core, folder, served, *more))
        command = [str(HERE / "peers.py"), "echo"]
        echo = stack.enter_context(started(arguments.core, command, folder / "echo.log"))
        reached = uvloop.run(measure(ours, served, echo, arguments))
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()
