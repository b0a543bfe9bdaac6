"""Who is killed when: a plan drawn from a seed, handed out a life at a time."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from simcloud.failpoints import VARIABLE, Failpoint


class Victim(StrEnum):
    """A kind of process that is killed."""

    UPLOADER = "uploader"
    GENERATOR = "generator"
    DRIVER = "driver"
    S3 = "s3"


@dataclass(frozen=True, slots=True)
class Life:
    """What ends one process."""

    point: Failpoint | None = None
    time: int = 0
    """At which time, from 1, it reaches the point; it then kills itself."""
    after_s: float = 0.0
    """Without a point: it is killed that long after it could work, seconds."""
    at_work: bool = False
    """Counted from when it is seen at work; a busy machine is slow to get there."""

    @property
    def environment(self) -> dict[str, str]:
        """What its process is started with."""
        return {} if self.point is None else {VARIABLE: f"{self.point}=kill:{self.time}"}

    def __str__(self) -> str:
        if self.point:
            return f"{self.point}:{self.time}"
        return f"{self.after_s:.1f}s{' of work' if self.at_work else ''}"


BATCH: Mapping[Victim | Failpoint, int] = {
    Failpoint.AFTER_PART: 4,
    Failpoint.AFTER_EPOCH: 4,
    Failpoint.AFTER_COMPLETE: 4,
    Failpoint.AFTER_INDEX: 1,
    Failpoint.AFTER_CREATE: 1,
    Victim.UPLOADER: 1,
    Victim.GENERATOR: 3,
    Victim.DRIVER: 3,
    Victim.S3: 1,
}
"""Kills of one batch: at the points of the commit protocol, and of each kind at random moments."""

BATCH_KILLS = sum(BATCH.values())

# A shard of the test has six parts and one Complete; a point that is reached once a shard is
# reached too seldom to wait for its second time.
_LATEST = {Failpoint.AFTER_PART: 6, Failpoint.AFTER_EPOCH: 5}
_WITHIN_S = 6.0
_AT_WORK_SHARE = 0.7
"""The others are killed on their way to it."""


@dataclass
class KillPlan:
    """The lives of one batch, by kind of process, and which of them have ended."""

    seed: int
    waiting: dict[Victim, deque[Life]] = field(default_factory=dict)
    led: int = 0
    """Lives that were handed out and have not ended."""
    carried_out: Counter[str] = field(default_factory=Counter)
    """Kills by failpoint, or by kind of process for those at a random moment."""

    @property
    def done(self) -> bool:
        """Whether every kill was carried out."""
        return not self.led and not any(self.waiting.values())

    def begin(self, victim: Victim) -> Life | None:
        """How the next process of a kind ends; None: it lives on."""
        lives = self.waiting[victim]
        if not lives:
            return None
        self.led += 1
        return lives.popleft()

    def end(self, victim: Victim, life: Life) -> None:
        """A process was killed as its life said."""
        self.led -= 1
        self.carried_out[str(life.point or victim)] += 1

    def give_back(self, victim: Victim, life: Life) -> None:
        """A process came to its own end before; the kill is another's."""
        self.led -= 1
        self.waiting[victim].appendleft(life)

    def __str__(self) -> str:
        kinds = (f"{kind}: {' '.join(map(str, lives))}" for kind, lives in self.waiting.items())
        return f"seed {self.seed}: " + "; ".join(kinds)


def empty_plan() -> KillPlan:
    """Nobody is killed."""
    return KillPlan(0, {victim: deque() for victim in Victim})


def make_plan(seed: int) -> KillPlan:
    """One batch of kills; a function of the seed."""
    rng = random.Random(seed)
    plan = KillPlan(seed)
    for victim in Victim:
        lives = [
            Life(after_s=rng.uniform(0.1, _WITHIN_S), at_work=rng.random() < _AT_WORK_SHARE)
            for _ in range(BATCH[victim])
        ]
        if victim is Victim.UPLOADER:
            lives += [
                Life(point, rng.randint(1, _LATEST.get(point, 1)))
                for point in Failpoint
                for _ in range(BATCH[point])
            ]
            rng.shuffle(lives)
        plan.waiting[victim] = deque(lives)
    return plan
