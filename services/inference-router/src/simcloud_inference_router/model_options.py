"""How a model's targets share its traffic, as the catalogue says it: all optional, per model."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Comparison = Literal["detections", "classes", "tensors"]
"""What is compared between an answer and its shadow's."""


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OutlierOptions(_Options):
    """When a target is taken out of the traffic because it fails, and for how long.

    A model's only target never is.
    """

    consecutive_failures: int = Field(default=5, ge=1, le=1000)
    """Failures in a row: no connection, no answer within the target's own time, 5xx."""
    failure_share: float = Field(default=0.5, gt=0, le=1)
    """Share of failures from which on it is taken out, once `minimum_requests` have ended."""
    minimum_requests: int = Field(default=20, ge=1, le=100_000)
    """Requests within `interval_s` below which their share of failures says nothing."""
    interval_s: float = Field(default=10.0, gt=0, le=3600)
    """Length of the intervals in which failures are counted, seconds."""
    base_ejection_s: float = Field(default=30.0, gt=0, le=3600)
    """First time out, seconds; the second in a row is twice as long, and so on."""
    max_ejection_s: float = Field(default=300.0, gt=0, le=86_400)
    """Longest time out, seconds."""
    max_ejected: float = Field(default=0.5, ge=0, le=1)
    """Share of the targets that may be out at once; one always may, the last one never; 0: none."""


class HedgeOptions(_Options):
    """A second attempt on another target while the first is late; for models without side effects.

    Paid from the retry budget; never for sessions and answers in parts, and only when another
    target has a free slot.
    """

    percentile: float = Field(default=95.0, ge=50, lt=100)
    """Of the latest times at the targets: later than this is late."""
    max_share: float = Field(default=0.05, gt=0, le=0.5)
    """Largest share of requests that get a second attempt."""
    minimum_samples: int = Field(default=50, ge=10, le=256)
    """Answers that must have been timed before any request is late."""


class CanaryOptions(_Options):
    """A share of the requests for a new target, which gets no others."""

    target: str
    """Name of one of the model's targets."""
    percent: float = Field(ge=0, le=100)
    """Share of the requests, percent."""
    by: Literal["request", "caller", "parameter"] = "request"
    """What is drawn: every request for itself; or callers, or values of `parameter`, of which each
    always goes the same way."""
    parameter: str = Field(default="", max_length=256)
    """Name of the parameter for `by: parameter`; requests without it don't go to the canary."""

    @model_validator(mode="after")
    def _parameter_where_it_is_used(self) -> Self:
        if (self.by == "parameter") != bool(self.parameter):
            raise ValueError("canary: `parameter` goes with `by: parameter`, give both or neither")
        return self


class ShadowOptions(_Options):
    """Copies of some requests for a target whose answers nobody gets, only compared."""

    target: str
    """Name of one of the model's targets; it gets no other requests."""
    sample: float = Field(default=0.1, gt=0, le=1)
    """Share of the answered requests that are copied."""
    compare: Comparison
    """`detections`: pairs of the same class that overlap by half; `classes`: the best class;
    `tensors`: every number."""
    tolerance: float = Field(default=1e-3, ge=0)
    """For `tensors`: largest difference, absolute or as a share of the answer's number."""
    max_in_flight: int = Field(default=4, ge=1, le=256)
    """Copies at once; beyond it they are dropped and counted."""


class ColdStartOptions(_Options):
    """Waiting for a target that is scaled to zero, in place of failing at once."""

    max_wait_s: float = Field(default=300.0, gt=0, le=3600)
    """Longest wait of a request, seconds; its own deadline may be shorter."""
    probe_every_s: float = Field(default=5.0, gt=0, le=300)
    """Pause between requests that go through to see whether it is there, and to keep it coming."""


class SessionOptions(_Options):
    """How long the router remembers which target a session lives on."""

    ttl_s: float = Field(default=3600.0, gt=0, le=86_400)
    """Time without a request after which a session is forgotten, seconds."""
    max_sessions: int = Field(default=10_000, ge=1, le=1_000_000)
    """Sessions at once; more are refused."""


class DynamicBatchingOptions(_Options):
    """Requests that ask the same of different rows, sent as one; the names are Triton's.

    Those of one caller: others' bad rows, quotas and turns are none of its business.
    """

    max_batch_size: int = Field(default=0, ge=0)
    """Most rows of a batch; 0: the model's `max_batch_size`."""
    preferred_batch_size: tuple[Annotated[int, Field(ge=2)], ...] = ()
    """Rows with which a batch goes out at once, as it does when it is full."""
    max_queue_delay_microseconds: int = Field(default=0, ge=0, le=60_000_000)
    """Longest wait for company while a target has room. A request waits for it no longer than half
    of the time that it has, nor so long that what targets usually take would not fit in. 0: only
    what waits for a slot anyway is put together."""


class TrafficOptions(_Options):
    """How a model's targets share its traffic."""

    outlier: OutlierOptions = OutlierOptions()
    """When a failing target is taken out."""
    hedge: HedgeOptions | None = None
    """Second attempts for late requests; none by default."""
    canary: CanaryOptions | None = None
    """A new target with a share of its own; none by default."""
    shadow: ShadowOptions | None = None
    """A target that is compared, not used; none by default."""
    cold_start: ColdStartOptions | None = None
    """Waiting for targets that are scaled to zero; by default requests fail at once."""
    session: SessionOptions = SessionOptions()
    """How long a session is remembered."""
    dynamic_batching: DynamicBatchingOptions | None = None
    """Requests and frames sent together, for models that take batches; none by default."""

    def check_targets(self, names: tuple[str, ...]) -> None:
        """Checks what names targets.

        Args:
            names: of the model's targets.

        Raises:
            ValueError: a name is not one of them, or nothing is left for the ordinary requests.
        """
        special = [
            (what, options.target)
            for what, options in (("canary", self.canary), ("shadow", self.shadow))
            if options is not None
        ]
        for what, name in special:
            if name not in names:
                raise ValueError(f"{what}.target {name} is none of {', '.join(names)}")
        if len({name for _, name in special}) != len(special):
            raise ValueError("canary and shadow must be different targets")
        ordinary = len(names) - len(special)
        if not ordinary:
            raise ValueError("no target is left beside canary and shadow")
        if self.hedge is not None and ordinary + (self.canary is not None) < 2:
            raise ValueError("hedge needs a second target beside canary and shadow")
