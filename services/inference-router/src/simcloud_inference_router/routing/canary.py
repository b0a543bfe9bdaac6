"""Which requests go to a canary; pure."""

from __future__ import annotations

from collections.abc import Callable

from simcloud_inference_router.model_options import CanaryOptions
from simcloud_inference_router.routing.hashing import place_of
from simcloud_inference_router.routing.routed_target import RoutedTarget


class Canary:
    """The share of a model's requests for its canary.

    Args:
        options: how large, and what is drawn.
        target: the canary.
        draw: uniform in [0, 1).
    """

    __slots__ = ("_draw", "_share", "options", "requests", "target")

    def __init__(
        self, options: CanaryOptions, *, target: RoutedTarget, draw: Callable[[], float]
    ) -> None:
        self.options = options
        self.target = target
        self.requests = 0
        """Requests that were drawn for it."""
        self._share = options.percent / 100.0
        self._draw = draw

    def wants(self, caller: str, value: str) -> bool:
        """Whether a request is the canary's.

        Args:
            caller: who asks.
            value: of the parameter that is drawn; empty: the request has none.
        """
        match self.options.by:
            case "request":
                drawn = self._draw()
            case "caller":
                drawn = place_of(caller, self.target.name)
            case "parameter":
                drawn = place_of(value, self.target.name) if value else 1.0
        if drawn >= self._share:
            return False
        self.requests += 1
        return True
