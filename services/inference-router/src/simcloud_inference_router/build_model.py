"""A model of the catalogue to one that is routed: its targets, its door, its budgets."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from simcloud.clock import Clock
from simcloud.concurrency.retry import RetryBudget
from simcloud_inference_router.background import Background
from simcloud_inference_router.catalog import ModelEntry
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

    def build(self, entry: ModelEntry) -> RoutedModel:
        """The model of a catalogue's entry."""
        shadow_name = entry.shadow.target if entry.shadow is not None else ""
        targets = [
            self._target(entry, place) for place in entry.targets if place.name != shadow_name
        ]
        roster = Roster(targets, options=entry, draw=self._draw)
        retry = self._settings.retry
        retries = RetryBudget(self._clock, ratio=retry.ratio, floor_per_s=retry.floor_per_s)
        codec = tensor_codec(entry)
        return RoutedModel(
            entry=entry,
            door=Door(
                model=entry.name, roster=roster, cold_start=entry.cold_start, clock=self._clock
            ),
            retries=retries,
            codec=codec,
            sessions=Sessions(entry.session, roster=roster),
            hedging=(
                Hedging(entry.hedge, retries=retries, clock=self._clock)
                if entry.hedge is not None
                else None
            ),
            canary=self._canary(entry, roster),
            shadow=self._shadow(entry, codec),
        )

    def _target(self, entry: ModelEntry, place: TargetEntry) -> RoutedTarget:
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
        return RoutedTarget(place, self._make(place), limit=limit, outlier=entry.outlier, role=role)

    def _canary(self, entry: ModelEntry, roster: Roster) -> Canary | None:
        if entry.canary is None:
            return None
        return Canary(entry.canary, target=roster.target(entry.canary.target), draw=self._draw)

    def _shadow(self, entry: ModelEntry, codec: TensorCodec | None) -> Shadow | None:
        options = entry.shadow
        if options is None:
            return None
        place = next(each for each in entry.targets if each.name == options.target)
        return Shadow(
            options,
            roster=Roster([self._target(entry, place)], options=entry, draw=self._draw),
            codec=codec,
            background=self._background,
            clock=self._clock,
            draw=self._draw,
        )
