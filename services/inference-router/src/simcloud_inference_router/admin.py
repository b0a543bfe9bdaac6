"""What operators may do to a router that runs, whoever asks it of us."""

from __future__ import annotations

from dataclasses import dataclass

from simcloud.rpc.auth import Authorizer
from simcloud.telemetry.logging import get_logger
from simcloud_inference_router.catalog_status import CatalogChange
from simcloud_inference_router.dispatch import RoutedModel
from simcloud_inference_router.reload import CatalogReloader
from simcloud_inference_router.routing.routed_target import RoutedTarget, State, TargetSnapshot

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TargetView:
    """One target as an operator sees it."""

    model: str
    now: TargetSnapshot
    state: str
    """`ready`, `failing`, `ejected`, `cold`, `draining` or `drained`."""
    waiting: int
    """Requests and frames that wait for a slot of some target of the model."""
    former_in_flight: int
    """Requests at it on streams that began with an earlier catalogue."""
    weight: float
    """Weight in force, also while it is drained."""
    catalog_weight: float


class RouterAdmin:
    """Weights, drains and the catalogue of one router; for operators, and nobody else.

    Everything done is a log line with its caller. What is set here holds until the catalogue's
    entry of the target changes, or the process ends.

    Args:
        reloader: of the catalogue; its router is what is changed.
        authorizer: says who may.
    """

    def __init__(self, reloader: CatalogReloader, *, authorizer: Authorizer) -> None:
        self._reloader = reloader
        self._served = reloader.served
        self._authorizer = authorizer

    @property
    def digest(self) -> str:
        """SHA-256 of the catalogue that is served."""
        return self._reloader.status.digest

    @property
    def problem(self) -> str:
        """Why the file's present content is not served; empty: it is."""
        return self._reloader.status.problem

    @property
    def discovery_problems(self) -> tuple[str, ...]:
        """Why the last look for tagged endpoints failed, and which tags can't be followed."""
        return self._reloader.discovery.problems

    def check(self, caller: str) -> None:
        """Lets an operator in.

        Raises:
            PermissionDenied: it is none.
        """
        self._authorizer.check_admin(caller)

    def targets(self) -> list[TargetView]:
        """All targets, models in the order of the catalogue, each one's shadow last."""
        return [
            self._view(model, target, now)
            for model in self._served.models.values()
            for target, now in zip(model.targets, model.snapshot(), strict=True)
        ]

    def set_weight(self, caller: str, target: str, weight: float) -> TargetView:
        """Changes a target's share at once; 0 lets nothing new go there.

        Raises:
            NotFound: there is no such target, or it is a shadow.
            InvalidRequest: the weight is negative or not a number.
        """
        for door in self._served.doors_of(target):
            door.set_weight(target, weight)
        _log.info("a weight was set", target=target, weight=weight, caller=caller)
        return self._view_of(target)

    def drain(self, caller: str, target: str) -> TargetView:
        """Lets nothing new go to a target.

        Raises:
            NotFound: there is no such target, or it is a shadow.
        """
        for door in self._served.doors_of(target):
            door.drain(target)
        _log.info("a target is drained", target=target, caller=caller)
        return self._view_of(target)

    def undrain(self, caller: str, target: str) -> TargetView:
        """Ends a drain.

        Raises:
            NotFound: there is no such target, or it is a shadow.
        """
        for door in self._served.doors_of(target):
            door.undrain(target)
        _log.info("a target is drained no more", target=target, caller=caller)
        return self._view_of(target)

    async def reload(self, caller: str) -> CatalogChange:
        """Reads the catalogue now.

        Raises:
            PreconditionFailed: it is not valid; what was served is served on.
        """
        _log.info("the catalogue is read again", caller=caller)
        return await self._reloader.reload()

    def _view_of(self, name: str) -> TargetView:
        model = self._served.model_of(name)
        return next(
            self._view(model, target, now)
            for target, now in zip(model.targets, model.snapshot(), strict=True)
            if target.name == name
        )

    def _view(self, model: RoutedModel, target: RoutedTarget, now: TargetSnapshot) -> TargetView:
        former = self._served.former_in_flight(target.name)
        return TargetView(
            model=model.entry.name,
            now=now,
            state=_state(now, now.in_flight + former),
            waiting=model.door.waiting,
            former_in_flight=former,
            weight=target.weight,
            catalog_weight=target.entry.weight,
        )


def _state(now: TargetSnapshot, in_flight: int) -> str:
    if now.role != "shadow" and now.weight == 0:
        return "draining" if in_flight else "drained"
    if now.state is State.OPEN:
        return "ready" if now.ready else "failing"
    return now.state.value
