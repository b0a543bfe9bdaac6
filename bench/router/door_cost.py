"""CPU time of choosing a target: the dispatcher with its door, choice and bookkeeping, no network.

The targets answer at once, so what is left is the router's own part between an encoded request and
its answer, per request, with what the statistics cost. A bare call of such a target is subtracted.

    .venv/bin/python bench/router/door_cost.py [--requests 20000] [--rounds 5] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import uvloop

from simcloud.clock import SYSTEM_CLOCK
from simcloud.concurrency.retry import Backoff
from simcloud_inference_router.background import open_background
from simcloud_inference_router.build_model import ModelBuilder
from simcloud_inference_router.catalog import ModelEntry
from simcloud_inference_router.dispatch import Dispatcher, RoutedModel
from simcloud_inference_router.settings import RouterSettings
from simcloud_inference_router.statistics import CallTrace, ModelCounts
from simcloud_inference_router.target_entry import TargetEntry
from simcloud_inference_router.targets.base import Failure, Invocation, TargetAnswer

BAR_US: Final = 25.0
"""Part of a request's 0.37 ms that this may take."""

ANSWER: Final = TargetAnswer(b"{}", "application/json")
INVOCATION: Final = Invocation(bytes(1024), "image/png", "application/json")


class Instant:
    """A target that answers at once, or after a turn of the loop."""

    def __init__(self, entry: TargetEntry, *, yields: bool) -> None:
        self.name = entry.name
        self._yields = yields

    async def invoke(self, invocation: Invocation, *, timeout_s: float) -> TargetAnswer | Failure:
        """The answer."""
        if self._yields:
            await asyncio.sleep(0)
        return ANSWER


def entry(targets: int, **traffic: object) -> ModelEntry:
    """A model of so many targets."""
    return ModelEntry.model_validate(
        {
            "name": "m",
            "task": "t",
            "digest": "0" * 64,
            "tensor_codec": None,
            "targets": [
                {"name": f"t{number}", "kind": "container", "url": "http://127.0.0.1:1"}
                for number in range(targets)
            ],
            **traffic,
        }
    )


async def timed(requests: int, at_once: int, call: Callable[[], Awaitable[object]]) -> float:
    """CPU microseconds a call."""
    left = requests

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await call()

    begun = time.process_time()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(worker())
    return (time.process_time() - begun) / requests * 1e6


async def measure(requests: int, rounds: int) -> dict[str, float]:
    """Medians by kind, microseconds."""
    found: dict[str, list[float]] = {}
    random = Random(1)  # noqa: S311
    async with open_background() as background:
        for _ in range(rounds):
            for name, targets, at_once, traffic in (
                ("one target", 1, 1, {}),
                ("four targets", 4, 16, {}),
                ("four targets, queueing", 4, 256, {}),
                ("four targets, hedging", 4, 16, {"hedge": {}}),
                ("four targets, canary by caller", 4, 16, {"canary": _CANARY}),
            ):
                yields = at_once > 1
                builder = ModelBuilder(
                    RouterSettings(catalog=Path("unused")),
                    make=partial(Instant, yields=yields),
                    background=background,
                    clock=SYSTEM_CLOCK,
                    random=random,
                )
                model = builder.build(entry(targets, **traffic))
                dispatcher = Dispatcher(
                    clock=SYSTEM_CLOCK, backoff=Backoff(), random=random, background=background
                )
                bare = Instant(model.targets[0].entry, yields=yields)
                net = await timed(requests, at_once, _call(dispatcher, model))
                net -= await timed(requests, at_once, partial(bare.invoke, INVOCATION, timeout_s=1))
                found.setdefault(name, []).append(net)
    return {name: statistics.median(each) for name, each in found.items()}


_CANARY: Final = {"target": "t3", "percent": 10, "by": "caller"}


def _call(dispatcher: Dispatcher, model: RoutedModel) -> Callable[[], Awaitable[object]]:
    counts = ModelCounts()

    async def call() -> None:
        trace = CallTrace()
        now = SYSTEM_CLOCK.monotonic()
        await dispatcher.call(
            model, INVOCATION, deadline=now + 30, patient=True, trace=trace, caller="me"
        )
        counts.record(trace, total_s=SYSTEM_CLOCK.monotonic() - now, reason=None, now_s=0.0)

    return call


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = uvloop.run(measure(arguments.requests, arguments.rounds))
    if arguments.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    for name, microseconds in found.items():
        line = f"{name:<32} {microseconds:6.1f} us a request (bar {BAR_US:.0f})"
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
