"""Classes by quota: which class each object of a balanced group gets, frame by frame.

No frame needs another one to be rendered: the classes of a block of 256 frames are one sequence
that depends on the spec alone, and a frame takes the part that begins where the counts of the
frames before it in the block end. After every object of the sequence each class has been given out
as often as its share says, rounded up or down.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor

from simcloud.errors import InvalidRequest
from simcloud.spec.distributions import Choice
from simcloud.spec.draws import Draws
from simcloud.spec.kinds import Kind
from simcloud.spec.object_model import ObjectGroup
from simcloud.spec.references import referred
from simcloud.spec.streams import RandomStream

BLOCK_FRAMES = 256
"""Frames of a block: as many as a shard has by default."""


def quota_sequence(
    shares: Mapping[str, float], length: int, *, seed: int, block: int, name: str
) -> tuple[str, ...]:
    """Classes in an order in which every beginning has each class by its share, within one.

    The m-th object of a class with share s falls between ``floor((m - 1) / s)`` and
    ``ceil(m / s)``; the earliest of these deadlines goes first, which meets them all (windows of
    Pfair scheduling: Baruah, Cohen, Plaxton, Varvel, "Proportionate progress", 1996; on one
    resource the earliest deadline first is optimal). Chance decides between equal deadlines.

    Args:
        shares: relative share of each class, 0 or more, not all 0.
        length: how many objects.
        seed: the spec's seed.
        block: which block of frames.
        name: name of the sequence; its random bits are ``<name>.<class>`` in frame ``block``.
    """
    return _sequence(tuple(sorted(shares.items())), length, seed, block, name)


@lru_cache(maxsize=64)
def _sequence(
    shares: tuple[tuple[str, float], ...], length: int, seed: int, block: int, name: str
) -> tuple[str, ...]:
    total = sum(Fraction(share) for _, share in shares)
    pace = {label: total / Fraction(share) for label, share in shares if share > 0}
    chance = {label: RandomStream(seed=seed, frame=block, name=f"{name}.{label}") for label in pace}
    given = dict.fromkeys(pace, 0)
    waiting = {label: (ceil(step), chance[label].word(), label) for label, step in pace.items()}
    result = []
    for place in range(length):
        _, _, label = min(
            waiting[label] for label, step in pace.items() if floor(given[label] * step) <= place
        )
        given[label] += 1
        deadline = ceil((given[label] + 1) * pace[label])
        waiting[label] = (deadline, chance[label].word(), label)
        result.append(label)
    return tuple(result)


def class_of_object(group: ObjectGroup, index: int, draws: Draws) -> str:
    """The class of one object of a balanced group.

    Args:
        group: with a balance.
        index: of the object among those that the frame tries.
        draws: of the frame.
    """
    assert group.balance is not None
    block, place = divmod(draws.frame, BLOCK_FRAMES)
    name = f"objects.{group.name}"
    if any(True for _ in referred(group.count)):
        counts = _counts(group.count, draws, block, f"{name}.tried")
    else:
        counts = _own_counts(group.count, draws.seed, block, f"{name}.tried")
    sequence = quota_sequence(
        group.balance, sum(counts), seed=draws.seed, block=block, name=f"{name}.balance"
    )
    return sequence[sum(counts[:place]) + index]


def _counts(count: Kind, draws: Draws, block: int, name: str) -> tuple[int, ...]:
    """How many objects each frame of a block tries."""
    frames = range(block * BLOCK_FRAMES, (block + 1) * BLOCK_FRAMES)
    return tuple(int(count.draw(at.stream(name), at.value)) for at in map(draws.at, frames))


@lru_cache(maxsize=64)
def _own_counts(count: Kind, seed: int, block: int, name: str) -> tuple[int, ...]:
    """The same where no other value counts: once a block instead of once an object."""
    return _counts(count, Draws(seed, 0), block, name)


def assets_of_classes(group: ObjectGroup, labels: Mapping[str, str | None]) -> dict[str, Choice]:
    """The group's assets by class, with their weights.

    Args:
        group: with a balance, whose assets are a name or a choice.
        labels: class of each asset.

    Raises:
        InvalidRequest: a class without an asset, or an asset without a target.
    """
    assert group.balance is not None
    names = group.assets.enumerated() or ()
    weights = group.assets.weights if isinstance(group.assets, Choice) else None
    found: dict[str, list[tuple[str, float]]] = {label: [] for label in group.balance}
    for asset, weight in zip(map(str, names), weights or (1.0,) * len(names), strict=True):
        label = labels[asset]
        if label is None or label not in found:
            raise InvalidRequest(
                f"randomization.objects[{group.name}].balance",
                f"asset {asset} is of class {label or 'none'}, which has no share; give it one, 0 "
                "if it is not wanted",
            )
        found[label].append((asset, weight))
    result = {}
    for label, share in group.balance.items():
        if sum(weight for _, weight in found[label]) > 0:
            assets, chances = zip(*found[label], strict=True)
            result[label] = Choice(values=assets, weights=chances)
        elif share > 0:
            raise InvalidRequest(
                f"randomization.objects[{group.name}].balance",
                f"no asset of the group is of class {label!r}",
            )
    return result
