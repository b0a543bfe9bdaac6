"""What a run's driver is to store, what became of it, and what it took. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from simcloud.client._wire import CommittedShard
from simcloud.client.cost import CostCount
from simcloud.client.events import FrameMade, RunEvent, ShardBegun, ShardLost, ShardStored
from simcloud.client.generation import GenerateTotals, ShardGivenUp, ShardMoved, ShardOpened
from simcloud.spec.plan import ShardFrames


class RunLedger:
    """One driver's; every field is state."""

    def __init__(self) -> None:
        self.open: dict[int, ShardFrames] = {}
        """Shards that are still to be stored, by number."""
        self.foreign: set[int] = set()
        """Those of them that another driver is at."""
        self.lost: dict[int, ShardLost] = {}
        """Shards that were given up, by number."""
        self.cost = CostCount()

    def told(
        self, event: ShardOpened | ShardMoved | CommittedShard | GenerateTotals
    ) -> RunEvent | None:
        """Takes an event of a call in; what the run tells of it, if it does."""
        match event:
            case ShardOpened():
                self.foreign.discard(event.frames.shard)
                return ShardBegun(frames=event.frames, resume_frame=event.resume_frame)
            case CommittedShard():
                self.open.pop(event.frames.shard, None)
                self.foreign.discard(event.frames.shard)
                self.cost.bytes_stored += 0 if event.already_committed else event.size_bytes
                return ShardStored(shard=event)
            case GenerateTotals():
                self.cost.add_call(event)
                return None
            case ShardMoved(timings=None):
                return None
            case ShardMoved():
                assert event.timings is not None
                self.cost.add_frame(event.timings)
                return FrameMade(
                    shard=event.shard,
                    frame=event.frame,
                    timings=event.timings,
                    quarantine_reason=event.quarantine_reason,
                )

    def given_up(self, event: ShardGivenUp) -> ShardLost | None:
        """What becomes of a shard that the call did not store; None when it is tried again."""
        number = event.frames.shard
        if event.owned_by_another:
            self.foreign.add(number)
            return None
        if event.retryable:
            return None
        self.open.pop(number, None)
        lost = ShardLost(frames=event.frames, reason=event.reason, message=event.message)
        self.lost[number] = lost
        return lost

    def give_up_foreign(self) -> Iterator[ShardLost]:
        """Gives up, one by one, what other drivers are at."""
        for number in sorted(self.foreign):
            frames = self.open.pop(number)
            self.lost[number] = ShardLost(
                frames=frames,
                reason="CONFLICT",
                message="another driver owns the shard and doesn't get on with it",
            )
            yield self.lost[number]

    def foreign_stored(self, numbers: Iterable[int]) -> None:
        """Another driver has stored these."""
        for number in numbers:
            self.open.pop(number, None)
            self.foreign.discard(number)
