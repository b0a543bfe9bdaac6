"""What goes to the inference-router and comes back, as ``simcloud.client.router`` gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from simcloud.dataset.frames import FrameRef


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture in memory."""

    media_type: str
    """For example ``image/png``."""
    data: bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture to be looked at."""

    id: str
    """Echoed in the answer; unique among the frames in flight, at most 256 bytes."""
    picture: Picture | FrameRef
    """The picture itself, or where the router reads it."""


@dataclass(frozen=True, slots=True)
class FrameAnswer:
    """What became of one frame. Times are wall-clock seconds within the router."""

    id: str
    code: int
    """gRPC status code as a number; 0 is OK."""
    reason: str
    """UPPER_SNAKE; empty when OK."""
    message: str
    """What was wrong and what to do; empty when OK."""
    retryable: bool
    """Whether sending the frame again may succeed."""
    media_type: str
    body: bytes
    """The model's answer; empty unless OK."""
    target: str
    """Target that answered."""
    attempts: int
    queue_s: float
    fetch_s: float
    target_s: float
    total_s: float

    @property
    def ok(self) -> bool:
        """Whether the model answered."""
        return self.code == 0


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """One place that serves a model, as it is now."""

    name: str
    kind: str
    ready: bool
    weight: float
    in_flight: int
    limit: int
    tier: int = 0
    """Those of a higher one are asked only while none of the lower ones has room."""
    ejected: bool = False
    """Whether it is taken out since it failed too often."""
    role: str = "ordinary"
    """``ordinary``, ``canary`` or ``shadow``."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model of the router's catalogue."""

    name: str
    versions: tuple[str, ...]
    """The default first."""
    digest: str
    """Names its predictions: ``<model>@<digest>``."""
    task: str
    labels: tuple[str, ...]
    """By class id."""
    targets: tuple[TargetInfo, ...]


@dataclass(frozen=True, slots=True)
class ShadowCounts:
    """Copies of requests for a shadow; field for field ``simcloud.v1.ShadowCounts``."""

    target: str
    sent: int
    dropped: int
    agreed: int
    differed: int
    failed: int
    incomparable: int
    matched: int
    missing: int
    extra: int


@dataclass(frozen=True, slots=True)
class ModelCounts:
    """Counts of one model since the replica began."""

    model: str
    requests: int
    succeeded: int
    retries: int
    request_bytes: int
    response_bytes: int
    target_s: float
    queue_s: float
    failed: Mapping[str, int] = field(default_factory=dict)
    """By reason."""
    hedges: int = 0
    """Second attempts while the first was late."""
    hedges_won: int = 0
    """Of these, those that answered first."""
    retry_budget_exhausted: int = 0
    """Requests that were not sent again, since the budget was spent."""
    canary_requests: int = 0
    """Requests that were drawn for the canary."""
    shadow: ShadowCounts | None = None
    """None when the model has no shadow."""
    executions: int = 0
    """Answers of targets; requests that were sent together as one have one."""
    batched_requests: int = 0
    """Requests and frames that were sent together with others as one."""
    batches_sent_apart: int = 0
    """Batches that a target refused, whose requests were then sent one by one."""
