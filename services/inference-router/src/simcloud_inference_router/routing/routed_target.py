"""One target as its model's door sees it: what it is at, how it does, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from simcloud_inference_router.model_options import OutlierOptions
from simcloud_inference_router.routing.health import Health
from simcloud_inference_router.routing.latency import PeakEwma
from simcloud_inference_router.routing.limiter import AimdLimit
from simcloud_inference_router.statistics import Histogram
from simcloud_inference_router.target_entry import TargetEntry
from simcloud_inference_router.targets.base import Target

WORTH_WAITING_S = 0.1
"""A queue is no shorter than what is answered in this time: whoever is refused comes back later."""


class State(StrEnum):
    """Whether a target is in the traffic."""

    OPEN = "open"
    """It is."""
    EJECTED = "ejected"
    """It failed too often: out until its time is over and one request has come through."""
    COLD = "cold"
    """It is scaled to zero: one request goes through at a time, the others wait."""


@dataclass(slots=True)
class TargetCounts:
    """What became of one target since the process began."""

    attempts: int = 0
    """Requests sent, copies for a shadow among them."""
    failures: int = 0
    """Attempts that brought no answer; not those that were given up before their time was up. Who
    cancels when it is up may be sooner than the target's own timer."""
    ejections: int = 0
    cold_starts: int = 0
    probes: int = 0
    """Requests sent to see whether it is back, or there."""
    hedges: int = 0
    """Second attempts sent to it while a first was late."""
    hedges_won: int = 0
    """Of these, those that answered first."""
    retries: int = 0
    """Requests sent to it after a failure, here or elsewhere."""
    times: Histogram = field(default_factory=Histogram)
    """Of all attempts, whatever became of them."""
    _granted: int = 0
    """Slots that are taken now, of every door that has the target."""
    _busy_since: float = 0.0
    """When the first of these was taken, or the price changed since."""
    _busy_s: float = 0.0
    """Time in which some slot was taken, up to when the last one was given back or the price
    changed."""
    _usd_per_s: float | None = None
    """Price in force; None: not known."""
    _usd: float | None = None
    """What ``_busy_s`` cost, each second at the price of its time; None: there was never one."""

    def begun(self, now: float) -> None:
        """A slot was taken."""
        if not self._granted:
            self._busy_since = now
        self._granted += 1

    def ended(self, now: float, attempt_s: float | None) -> None:
        """A slot was given back, after an attempt of that long; None: there was none."""
        self._granted -= 1
        if not self._granted:
            self._settle(now)
        if attempt_s is not None:
            self.attempts += 1
            self.times.add(attempt_s)

    def busy_s(self, now: float) -> float:
        """Seconds in which something of this process was at the target."""
        return self._busy_s + self._unsettled_s(now)

    def cost_usd(self, now: float) -> float | None:
        """What ``busy_s`` is estimated to have cost, US dollars; None: there was never a price."""
        if self._usd is None:
            return None
        return self._usd + self._unsettled_s(now) * (self._usd_per_s or 0.0)

    def price(self, usd_per_hour: float | None, now: float) -> None:
        """Has another price from now on; what was counted before cost what it cost."""
        if self._granted:
            self._settle(now)
            self._busy_since = now
        if usd_per_hour is None:
            self._usd_per_s = None
        else:
            self._usd_per_s = usd_per_hour / 3600
            self._usd = self._usd or 0.0

    def _settle(self, now: float) -> None:
        busy_s = now - self._busy_since
        self._busy_s += busy_s
        if self._usd is not None and self._usd_per_s is not None:
            self._usd += busy_s * self._usd_per_s

    def _unsettled_s(self, now: float) -> float:
        return now - self._busy_since if self._granted else 0.0


@dataclass(frozen=True, slots=True)
class TargetSnapshot:
    """One target at one moment."""

    name: str
    kind: str
    role: str
    """`ordinary`, `canary` or `shadow`."""
    tier: int
    weight: float
    """Weight in force; 0 takes nothing new."""
    drained: bool
    state: State
    ready: bool
    """Whether it answered lately; False also for a model's only target, which is never ejected."""
    in_flight: int
    limit: int
    ewma_s: float
    """Peak-sensitive average time of an answer, seconds, by which it is chosen: it falls while
    nothing is asked. 0: not known."""
    mean_s: float
    """Plain average time of its latest answers, seconds, however long ago; 0: not known."""
    busy_s: float
    """Time in which something was at it, seconds."""
    cost_usd: float | None
    """What that is estimated to have cost, US dollars; None: it never had a price."""


class RoutedTarget:
    """A target with its limit, its latency and its health. Its door alone changes it.

    Args:
        entry: the catalogue's description.
        target: how it is asked.
        limit: how much at once.
        outlier: when it is taken out.
        role: `ordinary`, `canary` or `shadow`.
    """

    __slots__ = (
        "accepts",
        "bit",
        "counts",
        "drained",
        "entry",
        "health",
        "in_flight",
        "latency",
        "limit",
        "probing",
        "role",
        "session_bit",
        "shut_until",
        "state",
        "target",
        "weight",
    )

    def __init__(
        self,
        entry: TargetEntry,
        target: Target,
        *,
        limit: AimdLimit,
        outlier: OutlierOptions,
        role: str = "ordinary",
    ) -> None:
        self.entry = entry
        self.target = target
        self.limit = limit
        self.role = role
        self.latency = PeakEwma()
        self.health = Health(outlier)
        self.counts = TargetCounts()
        self.counts.price(entry.price_per_hour, 0.0)
        self.in_flight = 0
        self.weight = entry.weight
        self.drained = False
        self.state = State.OPEN
        self.shut_until = 0.0
        """When a target that is not open may be probed."""
        self.probing = False
        """Whether a probe is on its way."""
        self.bit = 1
        """Its bit in the masks of requests; given by the door."""
        self.session_bit = 0
        """Its bit in the masks of sessions that live on it: they outlast a drain."""
        self.accepts = 1
        """Bits of the masks that it takes now."""

    @property
    def name(self) -> str:
        """Name in the catalogue."""
        return self.entry.name

    @property
    def ready(self) -> bool:
        """Whether it answered lately."""
        return self.state is State.OPEN and not self.health.unwell

    def inherit(self, before: RoutedTarget) -> None:
        """Takes over what is known about the same place from another door's target.

        Its limit, average time and counts are then both doors' own, at the price until now; a
        weight or a drain that was set by hand goes with an entry of the same weight. An ejection
        goes on, with a clean record after it.
        """
        self.target = before.target
        self.limit = before.limit
        self.latency = before.latency
        self.counts = before.counts
        if self.entry.weight == before.entry.weight:
            self.weight = before.weight
            self.drained = before.drained
        if before.state is State.EJECTED:
            self.state = before.state
            self.shut_until = before.shut_until

    def adopt(self, entry: TargetEntry, now: float) -> bool:
        """Takes over a new entry, which differs in its weight and its price at most.

        The entry's weight takes the place of what was set by hand, and ends a drain, if it is
        another than it was.

        Returns:
            Whether it is.
        """
        changed = entry.weight != self.entry.weight
        if changed:
            self.weight = entry.weight
            self.drained = False
        self.entry = entry
        # Also where the entry is this one already: the counts may be those of a target before it.
        self.counts.price(entry.price_per_hour, now)
        return changed

    def place(self, index: int) -> None:
        """Takes its bits: two of its own among those of the model's targets."""
        self.bit = 1 << 2 * index
        self.session_bit = 2 << 2 * index
        self.refresh()

    def refresh(self) -> None:
        """Brings ``accepts`` up to date after a change of ``weight`` or ``drained``."""
        takes_new = self.weight > 0 and not self.drained
        self.accepts = self.session_bit | (self.bit if takes_new else 0)

    def is_there(self, now: float) -> bool:
        """Whether it is in the traffic, or due for a probe."""
        return self.state is State.OPEN or (not self.probing and now >= self.shut_until)

    def has_room(self, now: float) -> bool:
        """Whether one more may go there: a slot under the limit, and if it is shut, as a probe."""
        return self.in_flight < self.limit.limit and self.is_there(now)

    @property
    def has_slot(self) -> bool:
        """Whether fewer requests are there than its limit lets, be it drained or shut."""
        return self.in_flight < self.limit.limit

    @property
    def queue_room(self) -> int:
        """Unary requests that may wait for it: its limit's worth, or of a fast target more."""
        limit, mean_s = self.limit.limit, self.latency.mean_s
        return max(limit, int(limit * WORTH_WAITING_S / mean_s)) if mean_s else limit

    def snapshot(self, now: float) -> TargetSnapshot:
        """How it is now."""
        return TargetSnapshot(
            name=self.name,
            kind=self.entry.kind,
            role=self.role,
            tier=self.entry.tier,
            weight=0.0 if self.drained else self.weight,
            drained=self.drained,
            state=self.state,
            ready=self.ready,
            in_flight=self.in_flight,
            limit=self.limit.limit,
            ewma_s=self.latency.value(now),
            mean_s=self.latency.mean_s,
            busy_s=self.counts.busy_s(now),
            cost_usd=self.counts.cost_usd(now),
        )
