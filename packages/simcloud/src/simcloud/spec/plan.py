"""The plan: which frames of a spec a run holds, and how they are cut. It may grow."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

DEFAULT_FRAMES_PER_SHARD = 256


class CountingRule(BaseModel):
    """How ground truth counts when predictions are scored; objects below a bound are ignored.

    The defaults are those of the showroom's pilot: an object counts when at least half of its
    silhouette within the image is visible, in at least 800 pixels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    labels: dict[str, str] = Field(default_factory=dict)
    """Our class label to the model's; a label that is not here is no ground truth."""
    ignored_predictions: tuple[str, ...] = ()
    """Labels of the model that count neither way: the scene holds such things unlabelled."""
    min_visible_fraction: float = Field(default=0.5, ge=0, le=1)
    """Visible pixels over pixels if nothing stood before it, within the image."""
    min_visible_px: int = Field(default=800, ge=0)
    """Visible pixels."""


class SplitRange(BaseModel):
    """Consecutive frames of one split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: str = Field(min_length=1, max_length=64)
    """Name of the split."""
    end: int = Field(ge=1)
    """First frame after it; it begins where the range before it ends."""


class Plan(BaseModel):
    """Frames, shards and splits of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    version: Literal["simcloud.plan/v1"] = "simcloud.plan/v1"
    """Version of this document."""
    frames: int = Field(ge=1, le=100_000_000)
    """Number of frames: indexes [0, frames)."""
    frames_per_shard: int = Field(default=DEFAULT_FRAMES_PER_SHARD, ge=1, le=65_536)
    """Frames of a shard; the last shard may have fewer. Never changes when a plan grows."""
    splits: dict[str, float] = Field(
        default_factory=lambda: {"train": 0.8, "val": 0.1, "test": 0.1}
    )
    """Weight of each split; a frame's split is a hash of its index. Never changes either."""
    split_ranges: tuple[SplitRange, ...] = Field(default=(), max_length=1000)
    """Splits by frame index, in place of weights and hash: imported pictures keep the splits that
    they came with. The last ends with the frames. Left out of the JSON where there are none."""
    counting: CountingRule = CountingRule()
    """How ground truth counts when scored."""

    @model_validator(mode="after")
    def _splits_weighable(self) -> Plan:
        if not self.splits or min(self.splits.values()) < 0 or sum(self.splits.values()) <= 0:
            raise ValueError("splits need weights of 0 or more, not all 0")
        return self

    @model_validator(mode="after")
    def _ranges_cover_the_frames(self) -> Plan:
        ends = [item.end for item in self.split_ranges]
        if ends and (ends != sorted(set(ends)) or ends[-1] != self.frames):
            raise ValueError("split_ranges ascend, and the last ends with the frames")
        return self

    @model_serializer(mode="wrap")
    def _as_it_always_was(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        # Plans of earlier releases stay canonical: what they don't say is not written.
        plain: dict[str, object] = handler(self)
        if not self.split_ranges:
            plain.pop("split_ranges", None)
        return plain

    @property
    def shard_count(self) -> int:
        """Number of shards."""
        return -(-self.frames // self.frames_per_shard)

    def shard(self, number: int) -> ShardFrames:
        """The frames of a shard; IndexError beyond the last."""
        if not 0 <= number < self.shard_count:
            raise IndexError(f"shard {number} of {self.shard_count}")
        first = number * self.frames_per_shard
        return ShardFrames(number, first, min(first + self.frames_per_shard, self.frames))

    def shards(self) -> list[ShardFrames]:
        """Every shard, ascending."""
        return [self.shard(number) for number in range(self.shard_count)]

    def split_of(self, frame: int) -> str:
        """The split of a frame: its range's, or by SHA-256 of ``simcloud/v1/split|<frame>``."""
        if self.split_ranges:
            ends = [item.end for item in self.split_ranges]
            return self.split_ranges[min(bisect_right(ends, frame), len(ends) - 1)].split
        word = int.from_bytes(hashlib.sha256(f"simcloud/v1/split|{frame}".encode()).digest()[:8])
        threshold = (word >> 11) * 2.0**-53 * sum(self.splits.values())
        running = 0.0
        name = ""
        for name in sorted(self.splits):
            running += self.splits[name]
            if threshold < running:
                break
        return name

    def is_growth_of(self, older: Plan) -> str | None:
        """None when every shard of the older plan stays as it is; else why it can't.

        A short last shard would change its frames, so it may only grow when it was full.
        """
        if self.frames_per_shard != older.frames_per_shard:
            return (
                f"frames_per_shard is {older.frames_per_shard} "
                f"and can't become {self.frames_per_shard}"
            )
        if self.splits != older.splits or self.split_ranges != older.split_ranges:
            return "splits can't change"
        if self.frames < older.frames:
            return f"frames is {older.frames} and can't shrink to {self.frames}"
        if self.frames != older.frames and older.frames % older.frames_per_shard:
            return (
                f"the last shard holds {older.frames % older.frames_per_shard} of "
                f"{older.frames_per_shard} frames and a committed shard never changes: "
                f"begin a run with whole shards to be able to grow it"
            )
        return None


@dataclass(frozen=True, slots=True)
class ShardFrames:
    """A shard and its frame indexes [first, end)."""

    shard: int
    first: int
    end: int

    def __len__(self) -> int:
        return self.end - self.first
