"""Doors in front of targets that a unit test makes by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random

from simcloud.clock import SYSTEM_CLOCK, Clock
from simcloud_inference_router.model_options import ColdStartOptions, OutlierOptions, TrafficOptions
from simcloud_inference_router.routing.door import Door
from simcloud_inference_router.routing.limiter import AimdLimit, LimitSettings
from simcloud_inference_router.routing.roster import Roster
from simcloud_inference_router.routing.routed_target import RoutedTarget
from simcloud_inference_router.target_entry import TargetEntry
from simcloud_inference_router.targets.base import Failure, Invocation, TargetAnswer

ANSWER = TargetAnswer(b"", "")


class Unasked:
    """A target that no unit test asks."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def invoke(self, invocation: Invocation, *, timeout_s: float) -> TargetAnswer | Failure:
        """Never called."""
        raise AssertionError(f"{self.name} was asked")


def routed(
    name: str,
    *,
    limit: int = 8,
    tier: int = 0,
    weight: float = 1.0,
    role: str = "ordinary",
    max_request_bytes: int = 1000,
    options: TrafficOptions | None = None,
) -> RoutedTarget:
    """A target whose limit shrinks by half and never grows."""
    entry = TargetEntry(
        name=name,
        kind="container",
        url="http://127.0.0.1:1",
        tier=tier,
        weight=weight,
        max_request_bytes=max_request_bytes,
    )
    settings = LimitSettings(start=limit, maximum=limit, decrease=0.5)
    outlier = (options or TrafficOptions()).outlier
    return RoutedTarget(entry, Unasked(name), limit=AimdLimit(settings), outlier=outlier, role=role)


def roster_of(
    targets: Sequence[RoutedTarget],
    *,
    options: TrafficOptions | None = None,
    draw: Callable[[], float] | None = None,
) -> Roster:
    """A roster with draws of a fixed seed."""
    chosen = draw or Random(7).random
    return Roster(targets, options=options or TrafficOptions(), draw=chosen)


def door_of(
    targets: Sequence[RoutedTarget],
    *,
    clock: Clock = SYSTEM_CLOCK,
    cold_start: ColdStartOptions | None = None,
    outlier: OutlierOptions | None = None,
) -> Door:
    """A door with draws of a fixed seed."""
    options = TrafficOptions(cold_start=cold_start, outlier=outlier or OutlierOptions())
    return Door(
        model="det", roster=roster_of(targets, options=options), cold_start=cold_start, clock=clock
    )


async def settle() -> None:
    """Lets every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)
