"""Which of several targets: tiers, then the cheaper of two drawn at random; pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from simcloud_inference_router.routing.routed_target import RoutedTarget, State


def tiers_of(targets: Sequence[RoutedTarget]) -> tuple[tuple[RoutedTarget, ...], ...]:
    """Targets by tier, the lowest first."""
    numbers = sorted({each.entry.tier for each in targets})
    return tuple(tuple(each for each in targets if each.entry.tier == number) for number in numbers)


def choose_where_all_are_open(
    tier: Sequence[RoutedTarget], mask: int, draw: Callable[[], float], now: float
) -> RoutedTarget | None:
    """The cheaper of the first two that are drawn, if both have room and none is shut; else None.

    What ``choose`` would do, without looking at all of them.
    """
    count = len(tier)
    if count == 1:
        one = tier[0]
        return one if one.accepts & mask and one.in_flight < one.limit.limit else None
    first = int(draw() * count)
    second = int(draw() * (count - 1))
    if second >= first:
        second += 1
    one, other = tier[first], tier[second]
    if (
        one.accepts & mask
        and other.accepts & mask
        and one.in_flight < one.limit.limit
        and other.in_flight < other.limit.limit
    ):
        return cheaper(one, other, now)
    return None


def choose(
    tiers: Sequence[Sequence[RoutedTarget]], mask: int, now: float, draw: Callable[[], float]
) -> RoutedTarget | None:
    """The target for a request, of the lowest tier that has one with room.

    A target that is due for a probe is chosen before all others of its tier: nothing else would
    ever find it well again.

    Args:
        tiers: as ``tiers_of`` gives them.
        mask: bits of the targets that the request may go to.
        now: seconds.
        draw: uniform in [0, 1).

    Returns:
        None when none of them has room.
    """
    for tier in tiers:
        free = [each for each in tier if each.accepts & mask and each.has_room(now)]
        if not free:
            continue
        for each in free:
            if each.state is not State.OPEN:
                return each
        return cheaper_of_two(free, now, draw)
    return None


def choose_ejected(
    tiers: Sequence[Sequence[RoutedTarget]], mask: int, now: float, draw: Callable[[], float]
) -> RoutedTarget | None:
    """A target among those that were taken out, for when nothing else may take the request.

    Returns:
        None when another is open, full as it may be, or when these are full as well.
    """
    free: list[RoutedTarget] = []
    for tier in tiers:
        for each in tier:
            if each.accepts & mask:
                if each.state is State.OPEN:
                    return None
                if each.state is State.EJECTED and each.in_flight < each.limit.limit:
                    free.append(each)
    return cheaper_of_two(free, now, draw) if free else None


def cheaper_of_two(
    free: Sequence[RoutedTarget], now: float, draw: Callable[[], float]
) -> RoutedTarget:
    """The cheaper of two targets drawn at random (power of two choices)."""
    count = len(free)
    if count == 1:
        return free[0]
    first = int(draw() * count)
    second = int(draw() * (count - 1))
    if second >= first:
        second += 1
    return cheaper(free[first], free[second], now)


def cheaper(one: RoutedTarget, other: RoutedTarget, now: float) -> RoutedTarget:
    """Of two targets the one of less cost; the first where they cost the same.

    The cost is ``latency * (in_flight + 1) / weight`` (Finagle, Envoy's peak EWMA). A weight of 0
    occurs only for the targets of sessions, which have no choice.
    """
    one_s, other_s = one.latency.value(now), other.latency.value(now)
    if not (one_s and other_s):
        # Of one of them nothing is known: it is neither the best nor the worst.
        one_s = other_s = 1.0
    one_cost = one_s * (one.in_flight + 1) * other.weight
    return one if one_cost <= other_s * (other.in_flight + 1) * one.weight else other
