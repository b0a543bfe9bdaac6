"""Objects of a spec: which and how many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

from pydantic import Field, model_validator

from simcloud.spec.base import Name, Range, SpecModel
from simcloud.spec.distributions import Choice, Constant, Real, Text, between
from simcloud.spec.motion_model import Motion
from simcloud.spec.placement_model import Drop, OnTop, Placement, Shelf, is_prim_path


class Region(SpecModel):
    """Floor that objects must stay within, all of their footprint."""

    x_m: Range = (-1e6, 1e6)
    """Smallest and largest X."""
    y_m: Range = (-1e6, 1e6)
    """Smallest and largest Y."""


class ObjectGroup(SpecModel):
    """Some objects of the scene's library, chosen, counted and placed alike."""

    name: Name
    """Names its values and its objects (``<name>_00``)."""
    count: Annotated[Real, between(0, 64)] = Constant(value=1)
    """How many are tried, 0 to 64; one that finds no free place is left out."""
    assets: Text
    """Name below /Library of the scene, drawn for each object."""
    balance: dict[str, Annotated[float, Field(ge=0)]] | None = None
    """Target shares by class, for example `{chair: 1, bed: 1}`: of the objects that are tried in
    any 256 frames in a row, each class gets its share within less than 3 objects. `assets` says
    which asset of the class it is, and must be a name or a choice. Across groups: let their counts
    be columns of one `joint` table with `pick: stratified`, whose weights are the shares."""
    distractor: bool = False
    """Whether they are only in the way: they hide others, but have no label, no box and no
    instance, as unlabelled parts of the stage."""
    placement: Placement
    """Where they go."""
    scale: Annotated[Real, between(1e-3, 1e3)] = Constant(value=1.0)
    """Uniform."""
    tint: tuple[Real, Real, Real] | None = None
    """Linear factor on the base colour, red, green, blue; unset leaves colours alone."""
    motion: Motion | None = None
    """How each of them moved to its place; unset: they stood still."""
    clearance_m: float = Field(default=0.02, ge=0, le=10)
    """Smallest distance between its footprints and any other."""
    solid: bool = True
    """Whether it takes up floor; a rug doesn't, and what stands on it is raised by its height."""
    priority: int = Field(default=100, ge=0, le=1000)
    """Groups are placed by priority, then by name: an earlier one has the better choice of places.
    The position of a group in the spec changes nothing."""
    attempts: int = Field(default=40, ge=1, le=1000)
    """Places tried for each object."""

    @model_validator(mode="after")
    def _balanceable(self) -> ObjectGroup:
        if self.balance is not None:
            if sum(self.balance.values()) <= 0:
                raise ValueError("balance: the shares are all 0")
            if not isinstance(self.assets, Constant | Choice):
                raise ValueError("balance needs assets that are a name, a choice or weighted")
        return self


def placing_order(groups: Sequence[ObjectGroup]) -> list[ObjectGroup]:
    """Rugs, what stands on the floor or hangs, what stands on something, what falls on it all.

    Within these by priority, then by name, except that a support comes before what stands on it.
    """
    waiting = sorted(groups, key=_placing_rank)
    result: list[ObjectGroup] = []
    while waiting:
        ahead = {group.name for group in waiting}
        # Circles are refused with the spec, so that one is always free.
        free = next(group for group in waiting if _support(group.placement)[0] not in ahead)
        waiting.remove(free)
        result.append(free)
    return result


def _placing_rank(group: ObjectGroup) -> tuple[int, bool, int, str]:
    late = {OnTop: 1, Shelf: 1, Drop: 2}.get(type(group.placement), 0)
    return late, group.solid, group.priority, group.name


def support_problems(groups: Sequence[ObjectGroup]) -> Iterator[str]:
    """What is wrong with the groups that others stand on or fall into."""
    by_name = {group.name: group for group in groups}
    for group in groups:
        support, stands = _support(group.placement)
        if support is None:
            continue
        if support not in by_name:
            yield f"{group.name} {stands} {support!r}, which is not a group"
        elif isinstance(by_name[support].placement, Drop):
            # where it comes to rest is not known before all places have been drawn
            yield (
                f"{group.name} {stands} {support!r}, whose own objects are dropped: where they "
                f"come to rest is not known when {group.name} is placed; drop it into the same "
                f"region, or place {support} without drop"
            )
        elif group.name in (chain := _supports(group, by_name)):
            yield f"{group.name} stands on itself: {' -> '.join((group.name, *chain))}"


def _supports(group: ObjectGroup, by_name: Mapping[str, ObjectGroup]) -> list[str]:
    """What a group stands on, what that stands on and so on, until one comes again."""
    chain: list[str] = []
    below = _support(group.placement)[0]
    while below is not None and below in by_name and below not in chain:
        chain.append(below)
        below = _support(by_name[below].placement)[0]
    return chain


def _support(placement: Placement) -> tuple[str | None, str]:
    match placement:
        case OnTop() | Shelf():
            return placement.support, "stands on"
        case Drop(into=str(name)) if not is_prim_path(name):
            return name, "drops into"
        case _:
            return None, ""
