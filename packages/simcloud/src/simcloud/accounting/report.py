"""What a reconciliation says: figures counted in S3, and everything that is not as it should be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from simcloud.dataset.layout import ModelKey, RunLocation
from simcloud.dataset.quarantine import QuarantinedFrame
from simcloud.spec.plan import ShardFrames


@dataclass(frozen=True, slots=True)
class Missing:
    """Frames of one shard that are not there."""

    shard: ShardFrames
    frame_keys: int
    """How many frame keys of the shard are missing."""
    reason: str
    mend: str
    """The command that mends it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that contradicts the run's promise."""

    where: str
    """Key, or frame."""
    detail: str
    """Expected and found."""
    mend: str
    """What to do about it."""
    discard: tuple[str, ...] = ()
    """Keys of objects that are no use any more, in the order in which they are to go; without
    them the shard, or its score, is made again."""


@dataclass(frozen=True, slots=True)
class DanglingUpload:
    """A multipart upload that is neither completed nor aborted; its parts are billed."""

    key: str
    upload_id: str
    initiated: datetime
    committed: bool
    """Whether its shard is committed, so that the next sweep aborts it."""


@dataclass(frozen=True, slots=True)
class Report:
    """A run, counted in S3. Every number is one of distinct frame keys (frame and camera)."""

    location: RunLocation
    generation: int
    """Of the plan."""
    published: bool
    """Whether the plan's manifest is written."""
    aborted: bool
    planned: int
    """Frames of the plan times cameras."""
    stored: int
    """With their layers, in committed shards."""
    quarantined: int
    """As their json member alone, in committed shards."""
    stored_bytes: int
    """Of the committed tars."""
    model: ModelKey | None
    scored: int | None
    """Stored ones with an answer of the model; None when no model was asked about."""
    missing: tuple[Missing, ...]
    """Planned, but neither stored nor quarantined; by shard."""
    unscored: tuple[Missing, ...]
    """Stored, but without an answer; by shard."""
    quarantine: tuple[QuarantinedFrame, ...]
    problems: tuple[Problem, ...]
    dangling: tuple[DanglingUpload, ...]
    bytes_checked: int
    """Of tars, against their checksums, in this call."""

    @property
    def balanced(self) -> bool:
        """Planned = stored + quarantined; scored = stored where a model was asked about."""
        scored = self.scored is None or self.scored == self.stored
        return scored and self.planned == self.stored + self.quarantined

    @property
    def complete_with_quarantine(self) -> bool:
        """Nothing missing, nothing wrong; some frames may be quarantined."""
        return self.balanced and not (self.missing or self.unscored or self.problems)

    @property
    def ok(self) -> bool:
        """Nothing missing, nothing wrong, nothing quarantined."""
        return self.complete_with_quarantine and self.quarantined == 0
