"""A model of the catalogue to one that is routed: its targets, its door, its budgets."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from simcloud.clock import Clock
from simcloud.concurrency.retry import RetryBudget
from simcloud_inference_router.background import Background
from simcloud_inference_router.batching.former import BatchFormer
from simcloud_inference_router.catalog import ModelEntry
from simcloud_inference_router.catalog_change import (
    is_same_place,
    leads_to_the_same,
    shadows_the_same,
)
from simcloud_inference_router.codecs import tensor_codec
from simcloud_inference_router.codecs.base import TensorCodec
from simcloud_inference_router.dispatch import RoutedModel
from simcloud_inference_router.routing.canary import Canary
from simcloud_inference_router.routing.door import Door
from simcloud_inference_router.routing.hedging import Hedging
from simcloud_inference_router.routing.limiter import AimdLimit, LimitSettings
from simcloud_inference_router.routing.roster import Roster
from simcloud_inference_router.routing.routed_target import RoutedTarget
from simcloud_inference_router.routing.sessions import Sessions
from simcloud_inference_router.routing.shadow import Shadow
from simcloud_inference_router.settings import RouterSettings
from simcloud_inference_router.statistics import ModelCounts
from simcloud_inference_router.target_entry import TargetEntry
from simcloud_inference_router.targets.base import Target


class ModelBuilder:
    """Makes models.

    Args:
        settings: of the process: limits and retry budgets.
        make: a target from its entry.
        background: where second attempts and copies run.
        clock: the process's.
        random: what choices, canaries and shadows are drawn from.
    """

    def __init__(
        self,
        settings: RouterSettings,
        *,
        make: Callable[[TargetEntry], Target],
        background: Background,
        clock: Clock,
        random: Random,
    ) -> None:
        self._settings = settings
        self._make = make
        self._background = background
        self._clock = clock
        self._draw = random.random

    def build(self, entry: ModelEntry, before: RoutedModel | None = None) -> RoutedModel:
        """The model of a catalogue's entry.

        Where the targets are what they were but for their weights and prices, it has the door that
        it had; ``Door.adopt`` and ``Shadow.adopt`` are still to tell it these. Else a new one, in
        which targets that are what they were have what was learnt about them.

        Args:
            entry: the catalogue's.
            before: the model of that name until now; itself when the entry is the same.
        """
        if before is None:
            retry = self._settings.retry
            retries = RetryBudget(self._clock, ratio=retry.ratio, floor_per_s=retry.floor_per_s)
            counts = ModelCounts()
            counts.count_versions((), entry.versions)
        elif before.entry == entry:
            return before
        else:
            retries, counts = before.retries, before.counts
        if before is not None and leads_to_the_same(before.entry, entry):
            door = before.door
        else:
            door = self._door(entry, before)
        codec = tensor_codec(entry)
        return RoutedModel(
            entry=entry,
            door=door,
            retries=retries,
            codec=codec,
            sessions=_sessions(entry, door.roster, before),
            hedging=self._hedging(entry, retries, before),
            canary=self._canary(entry, door.roster, before),
            shadow=self._shadow(entry, codec, before),
            batches=self._batches(entry, door),
            counts=counts,
        )

    def _batches(self, entry: ModelEntry, door: Door) -> BatchFormer | None:
        if entry.dynamic_batching is None:
            return None
        return BatchFormer(
            entry.dynamic_batching,
            max_rows=entry.max_batch_size,
            door=door,
            background=self._background,
            clock=self._clock,
        )

    def _door(self, entry: ModelEntry, before: RoutedModel | None) -> Door:
        shadow_name = entry.shadow.target if entry.shadow is not None else ""
        targets = [
            self._target(entry, place, before)
            for place in entry.targets
            if place.name != shadow_name
        ]
        roster = Roster(targets, options=entry, draw=self._draw)
        return Door(model=entry.name, roster=roster, cold_start=entry.cold_start, clock=self._clock)

    def _target(
        self, entry: ModelEntry, place: TargetEntry, before: RoutedModel | None
    ) -> RoutedTarget:
        limiter = self._settings.limiter
        limit = AimdLimit(
            LimitSettings(
                start=limiter.start,
                minimum=limiter.minimum,
                maximum=limiter.maximum,
                decrease=limiter.decrease,
            )
        )
        role = "ordinary"
        for name, options in (("canary", entry.canary), ("shadow", entry.shadow)):
            if options is not None and options.target == place.name:
                role = name
        made = RoutedTarget(place, self._make(place), limit=limit, outlier=entry.outlier, role=role)
        for known in before.targets if before is not None else ():
            if known.name == place.name and is_same_place(known.entry, place):
                made.inherit(known)
        return made

    def _hedging(
        self, entry: ModelEntry, retries: RetryBudget, before: RoutedModel | None
    ) -> Hedging | None:
        if entry.hedge is None:
            return None
        if before is not None and before.entry.hedge == entry.hedge:
            return before.hedging
        return Hedging(entry.hedge, retries=retries, clock=self._clock)

    def _canary(
        self, entry: ModelEntry, roster: Roster, before: RoutedModel | None
    ) -> Canary | None:
        if entry.canary is None:
            return None
        made = Canary(entry.canary, target=roster.target(entry.canary.target), draw=self._draw)
        known = before.canary if before is not None else None
        if known is not None and known.target.name == made.target.name:
            made.requests = known.requests
        return made

    def _shadow(
        self, entry: ModelEntry, codec: TensorCodec | None, before: RoutedModel | None
    ) -> Shadow | None:
        options = entry.shadow
        if options is None:
            return None
        if before is not None and shadows_the_same(before.entry, entry):
            return before.shadow
        place = next(each for each in entry.targets if each.name == options.target)
        return Shadow(
            options,
            model=entry.name,
            primaries=(each.name for each in entry.targets),
            roster=Roster([self._target(entry, place, before)], options=entry, draw=self._draw),
            codec=codec,
            background=self._background,
            clock=self._clock,
            draw=self._draw,
        )


def _sessions(entry: ModelEntry, roster: Roster, before: RoutedModel | None) -> Sessions:
    if before is not None and before.roster is roster and before.entry.session == entry.session:
        return before.sessions
    made = Sessions(entry.session, roster=roster)
    if before is not None:
        made.inherit(before.sessions)
    return made
