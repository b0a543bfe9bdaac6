"""The manifest: a run's table of committed shards for one generation of its plan, written last.

A reader that has it has everything it names.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from simcloud.dataset.layout import KeyKind, RunLocation
from simcloud.dataset.quarantine import QuarantinedFrame
from simcloud.errors import Corruption, NotFound, PreconditionFailed, Violation
from simcloud.s3.answers import Body
from simcloud.s3.errors import NoSuchKey
from simcloud.s3.objects import ObjectStore
from simcloud.spec.canonical import first_problem
from simcloud.spec.plan import ShardFrames

_NAMED_IN_MESSAGE = 10
_MAX_VIOLATIONS = 1000


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ManifestShard(_Model):
    """A committed shard."""

    shard: int = Field(ge=0)
    """Number within the run."""
    first_frame: int = Field(ge=0)
    """First frame index."""
    end_frame: int = Field(ge=1)
    """End of the range, not part of it."""
    path: str
    """Tar object within the run."""
    size_bytes: int = Field(ge=1)
    """Size of the tar."""
    crc64nvme: str = Field(pattern=r"^[0-9a-f]{16}$")
    """CRC-64/NVME of the whole tar, hex."""
    etag: str
    """ETag, quotes included; for If-Match only."""
    stored_frames: int = Field(ge=0)
    """Frame keys with their layers."""
    quarantined_frames: int = Field(ge=0)
    """Frame keys that are their json member alone."""
    fingerprints: tuple[str, ...]
    """Digests of render fingerprints in order of first appearance."""

    @property
    def frames(self) -> ShardFrames:
        """The shard and its frames."""
        return ShardFrames(self.shard, self.first_frame, self.end_frame)


class Manifest(_Model):
    """``manifests/NNNN.json``: RFC 8785 JSON."""

    version: Literal["simcloud.manifest/v1"] = "simcloud.manifest/v1"
    """Version of this document."""
    run: str
    """Name of the run."""
    generation: int = Field(ge=1)
    """Of the plan it fulfils."""
    spec_digest: str
    """SHA-256 of the canonical spec."""
    cameras: tuple[str, ...]
    """Names, in the spec's order."""
    frames_per_shard: int = Field(ge=1)
    """Frames of every shard but the last."""
    frames: int = Field(ge=1)
    """Frame indexes of the plan: [0, frames)."""
    planned_frames: int
    """Frame keys: frames times cameras."""
    stored_frames: int
    """Frame keys with their layers."""
    quarantined_frames: int
    """Frame keys that are their json member alone."""
    stored_bytes: int
    """Bytes of all tars."""
    fingerprints: tuple[str, ...]
    """Digests of all render fingerprints, in order of first appearance."""
    shards: tuple[ManifestShard, ...]
    """By number, from 0 without gaps."""
    quarantine: tuple[QuarantinedFrame, ...]
    """By frame."""
    provenance: dict[str, JsonValue] = {}
    """Commit, package versions, timings, cost: what those who published it said."""

    def shard_of(self, frame: int) -> ManifestShard:
        """The shard that holds a frame.

        Raises:
            NotFound: the run does not hold the frame.
        """
        if not 0 <= frame < self.frames:
            raise NotFound(f"frame {frame} is not in run {self.run}: it has 0 to {self.frames - 1}")
        return self.shards[frame // self.frames_per_shard]


class Unfinished(PreconditionFailed):
    """Not every shard of the plan is committed; each missing one is a violation."""

    reason = "RUN_UNFINISHED"

    @classmethod
    def of(cls, location: RunLocation, missing: Sequence[ShardFrames]) -> Self:
        """The error for a run.

        Args:
            location: the run.
            missing: shards that are not committed, ascending; the first thousand are named.
        """
        named = ", ".join(str(item.shard) for item in missing[:_NAMED_IN_MESSAGE])
        more = f" and {len(missing) - _NAMED_IN_MESSAGE} more" * (len(missing) > _NAMED_IN_MESSAGE)
        return cls(
            f"run {location}: {len(missing)} shards are not committed: {named}{more}; make them "
            "and publish again",
            violations=tuple(
                Violation(
                    kind="SHARD_MISSING",
                    subject=location.shard_key(frames.shard),
                    description=f"shard {frames.shard}, frames [{frames.first}, {frames.end}), is "
                    "not committed: make it and publish again",
                )
                for frames in missing[:_MAX_VIOLATIONS]
            ),
            missing=len(missing),
        )


async def newest_generation(store: ObjectStore, location: RunLocation) -> int:
    """The highest generation that has a manifest; 0 when none has."""
    newest = 0
    async for row in store.list_keys(location.bucket, location.manifests_prefix):
        key = location.parse(row.key)
        if key is not None and key.kind is KeyKind.MANIFEST:
            newest = max(newest, key.number)
    return newest


async def load_manifest(
    store: ObjectStore, location: RunLocation, *, generation: int | None = None
) -> Manifest:
    """A manifest; without a generation the highest.

    Raises:
        NotFound: the run has none: it does not exist or is not published.
        Corruption: it can't be read.
    """
    number = generation or await newest_generation(store, location)
    where = f"{location}: manifest {number}"
    try:
        if number == 0:
            raise NotFound(f"{location} has no manifest: no such run, or it is not published yet")
        return manifest_of(
            location, await store.get(location.bucket, location.manifest_key(number))
        )
    except NoSuchKey as error:
        raise NotFound(f"{where} does not exist") from error


def manifest_of(location: RunLocation, body: Body) -> Manifest:
    """The manifest in the bytes of an object.

    Raises:
        Corruption: it can't be read.
    """
    where = f"s3://{location.bucket}/{body.info.key}"
    try:
        return Manifest.model_validate(json.loads(body.data))
    except ValidationError as error:
        path, problem = first_problem(error)
        raise Corruption(f"{where}: {path}: {problem}") from error
    except ValueError as error:
        raise Corruption(f"{where} is not JSON: {error}") from error
