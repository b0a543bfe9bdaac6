"""What of a model stays the same from one catalogue to the next; pure."""

from __future__ import annotations

from simcloud_inference_router.catalog import ModelEntry
from simcloud_inference_router.model_options import TrafficOptions
from simcloud_inference_router.target_entry import TargetEntry


def is_same_place(before: TargetEntry, after: TargetEntry) -> bool:
    """Whether two entries differ in their weights and prices at most."""
    return _priced_as(before, after).model_copy(update={"weight": after.weight}) == after


def leads_to_the_same(before: ModelEntry, after: ModelEntry) -> bool:
    """Whether one door can serve both: the same places in the same roles under the same rules.

    Weights, prices, and the canary's share, change nothing about the door.
    """
    return (
        len(before.targets) == len(after.targets)
        and all(map(is_same_place, before.targets, after.targets))
        and _special(before) == _special(after)
        and before.outlier == after.outlier
        and before.cold_start == after.cold_start
    )


def shadows_the_same(before: ModelEntry, after: ModelEntry) -> bool:
    """Whether one shadow can serve both: it, its target, its rules and what is compared.

    What its target costs changes nothing about it.
    """
    shadow, changed = _shadow_target(before), _shadow_target(after)
    if shadow is not None and changed is not None:
        shadow = _priced_as(shadow, changed)
    traffic = {name: getattr(after, name) for name in TrafficOptions.model_fields}
    same_form = before.model_copy(update={**traffic, "targets": after.targets}) == after
    return (
        same_form
        and before.shadow == after.shadow
        and before.outlier == after.outlier
        and before.cold_start == after.cold_start
        and shadow == changed
    )


def _priced_as(entry: TargetEntry, other: TargetEntry) -> TargetEntry:
    prices = {"instance_type": other.instance_type, "usd_per_hour": other.usd_per_hour}
    return entry.model_copy(update=prices)


def _special(entry: ModelEntry) -> tuple[str, str]:
    """Names of the canary and the shadow; empty where there is none."""
    return (
        entry.canary.target if entry.canary is not None else "",
        entry.shadow.target if entry.shadow is not None else "",
    )


def _shadow_target(entry: ModelEntry) -> TargetEntry | None:
    name = entry.shadow.target if entry.shadow is not None else ""
    return next((each for each in entry.targets if each.name == name), None)
