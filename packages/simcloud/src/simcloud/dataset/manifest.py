"""The manifest: a run's table of committed shards for one generation of its plan, written last.

It is made from a LIST of the indexes in S3, never from memory, and written with ``If-None-Match``:
a reader that has it has everything it names.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from simcloud.dataset.index import ShardRecord, load_index, load_shard_record, read_rows
from simcloud.dataset.layout import KeyKind, RunLocation
from simcloud.dataset.rundoc import RunDocuments
from simcloud.errors import Corruption, NotFound, PreconditionFailed, Violation
from simcloud.s3 import checksums
from simcloud.s3.errors import NoSuchKey
from simcloud.s3.objects import Body, ObjectStore
from simcloud.s3.retrying import for_each
from simcloud.spec.canonical import canonical_json, first_problem
from simcloud.spec.plan import ShardFrames

_CONCURRENCY = 16
"""Indexes looked at at once."""
_NAMED_IN_MESSAGE = 10
_MAX_VIOLATIONS = 1000


ReadRecord = Callable[[int, str], Awaitable[ShardRecord]]
"""What an index says of its shard: by the shard's number and the index's ETag."""


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


class QuarantinedFrame(_Model):
    """A frame kept out of the data, and why."""

    frame: int
    """Frame index."""
    camera: str
    """Name of the camera."""
    rule: str
    """Label QA rule, or `render`."""
    detail: str
    """Which object, expected and found."""


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


@dataclass(frozen=True, slots=True)
class Collected:
    """The plan's shards as S3 has them."""

    records: dict[int, ShardRecord]
    """Committed ones by number, ascending."""
    missing: tuple[ShardFrames, ...]
    """Those that are not committed, ascending."""

    @property
    def stored_frames(self) -> int:
        """Frame keys with their layers."""
        return sum(record.stored_frames for record in self.records.values())

    @property
    def quarantined_frames(self) -> int:
        """Frame keys that are their json member alone."""
        return sum(record.quarantined_frames for record in self.records.values())

    @property
    def stored_bytes(self) -> int:
        """Bytes of the committed tars."""
        return sum(record.tar.size_bytes for record in self.records.values())


async def committed_shards(store: ObjectStore, location: RunLocation) -> list[int]:
    """Numbers of the shards that have an index, ascending: one LIST."""
    return list(await listed_indexes(store, location))


async def listed_indexes(store: ObjectStore, location: RunLocation) -> dict[int, str]:
    """ETags of the indexes there are, by the shard's number, ascending: one LIST."""
    found = {}
    async for row in store.list_keys(location.bucket, location.index_prefix):
        key = location.parse(row.key)
        if key is not None and key.kind is KeyKind.INDEX:
            found[key.shard] = row.etag
    return found


async def collect_shards(
    store: ObjectStore, documents: RunDocuments, *, read: ReadRecord | None = None
) -> Collected:
    """The committed shards of the newest plan, from a LIST of indexes and their footers.

    Args:
        store: S3.
        documents: the run's spec and plan.
        read: what an index says, by its shard's number and its ETag in the LIST; None: its footer
            is read.

    Raises:
        Corruption: an index is not of this run's spec or plan.
    """
    location = documents.location
    count = documents.plan.shard_count
    listed = await listed_indexes(store, location)

    async def load(number: int) -> ShardRecord:
        if read is None:
            record = await load_shard_record(store, location, number)
        else:
            record = await read(number, listed[number])
        check_record(record, documents)
        return record

    present = [number for number in listed if number < count]
    records = await for_each(present, load, limit=_CONCURRENCY)
    by_number = {record.shard.shard: record for record in records}
    missing = tuple(item for item in documents.plan.shards() if item.shard not in by_number)
    return Collected(records=by_number, missing=missing)


def check_record(record: ShardRecord, documents: RunDocuments) -> None:
    """Returns when a shard is of this run.

    Raises:
        Corruption: another spec, range or cameras than the run's.
    """
    where = f"{documents.location}: index of shard {record.shard.shard}"
    if record.spec_digest != documents.spec_digest:
        raise Corruption(
            f"{where} is of spec {record.spec_digest}, the run's is {documents.spec_digest}"
        )
    if record.shard != documents.plan.shard(record.shard.shard):
        raise Corruption(
            f"{where} holds frames [{record.shard.first}, {record.shard.end}), not the plan's"
        )
    if record.cameras != documents.cameras:
        raise Corruption(f"{where} has cameras {record.cameras}, the spec {documents.cameras}")


async def build_manifest(
    store: ObjectStore, documents: RunDocuments, *, provenance: dict[str, JsonValue]
) -> Manifest:
    """The manifest of the newest plan, from what S3 has now.

    Every tar is asked for (HEAD): an index whose tar is gone or another is not committed data.

    Raises:
        Unfinished: not every shard is committed.
        Corruption: an index is not of this run, or its tar is not the object it names.
    """
    location = documents.location
    # A LIST says what is missing: of an array of tasks each but the last asks in vain.
    present = set(await committed_shards(store, location))
    if missing := [item for item in documents.plan.shards() if item.shard not in present]:
        raise Unfinished.of(location, missing)
    collected = await collect_shards(store, documents)
    if collected.missing:
        raise Unfinished.of(location, collected.missing)
    records = list(collected.records.values())

    async def check(record: ShardRecord) -> None:
        if problem := await tar_problem(store, location, record):
            raise Corruption(f"{location}: {problem}")

    await for_each(records, check, limit=_CONCURRENCY)
    fingerprints = dict.fromkeys(name for record in records for name in record.fingerprints)
    return Manifest(
        run=location.run,
        generation=documents.generation,
        spec_digest=documents.spec_digest,
        cameras=documents.cameras,
        frames_per_shard=documents.plan.frames_per_shard,
        frames=documents.plan.frames,
        planned_frames=documents.planned_frames,
        stored_frames=collected.stored_frames,
        quarantined_frames=collected.quarantined_frames,
        stored_bytes=collected.stored_bytes,
        fingerprints=tuple(fingerprints),
        shards=tuple(_manifest_shard(record) for record in records),
        quarantine=await quarantined_in(store, location, records),
        provenance=provenance,
    )


async def tar_problem(store: ObjectStore, location: RunLocation, record: ShardRecord) -> str:
    """What is wrong with a shard's tar by HEAD; empty when it is the one of its index."""
    key = location.key(record.tar.path)
    info = await store.find(location.bucket, key)
    if info is None:
        return f"{key} does not exist, but its index does"
    if info.crc64nvme is None and info.etag == record.tar.etag:
        # A server that keeps no CRC: this is the object that was read back at its commit.
        info = replace(info, crc64nvme=record.tar.crc64nvme)
    found = (info.size_bytes, info.crc64nvme)
    if found != (record.tar.size_bytes, record.tar.crc64nvme):
        crc = "none" if info.crc64nvme is None else checksums.to_hex(info.crc64nvme)
        return (
            f"{key} has {info.size_bytes} bytes and CRC {crc}; its index says "
            f"{record.tar.size_bytes} and {checksums.to_hex(record.tar.crc64nvme)}"
        )
    return ""


async def publish_manifest(store: ObjectStore, location: RunLocation, manifest: Manifest) -> bool:
    """Writes a manifest if its generation has none; True when this call wrote it.

    Raises:
        Corruption: there is one that names other shards.
    """
    outcome = await store.put_if_absent(
        location.bucket, location.manifest_key(manifest.generation), canonical_json(manifest)
    )
    if not outcome.created:
        present = await load_manifest(store, location, generation=manifest.generation)
        if present.shards != manifest.shards:
            raise Corruption(
                f"{location}: manifest {manifest.generation} names other shards than S3 has; "
                "run `simcloud verify` on it"
            )
    return outcome.created


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


async def quarantined_in(
    store: ObjectStore, location: RunLocation, records: Sequence[ShardRecord]
) -> tuple[QuarantinedFrame, ...]:
    """The quarantined frames of committed shards; reads the indexes of those that have any."""
    affected = [record for record in records if record.quarantined_frames]

    async def load(record: ShardRecord) -> list[QuarantinedFrame]:
        return quarantined_rows(await load_index(store, location, record.shard.shard))

    found = await for_each(affected, load, limit=4)
    return tuple(frame for frames in found for frame in frames)


def by_rule(quarantine: Iterable[QuarantinedFrame]) -> dict[str, int]:
    """Frame keys by the rule that they broke, in alphabetic order."""
    return dict(sorted(Counter(row.rule for row in quarantine).items()))


def quarantined_rows(index: bytes) -> list[QuarantinedFrame]:
    """The quarantined frames of an index, in its order."""
    table = read_rows(index, ["frame", "camera", "quarantine_rule", "quarantine_detail"])
    return [
        QuarantinedFrame(
            frame=row["frame"],
            camera=row["camera"],
            rule=row["quarantine_rule"],
            detail=row["quarantine_detail"],
        )
        for row in table.to_pylist()
        if row["quarantine_rule"] is not None
    ]


def _manifest_shard(record: ShardRecord) -> ManifestShard:
    return ManifestShard(
        shard=record.shard.shard,
        first_frame=record.shard.first,
        end_frame=record.shard.end,
        path=record.tar.path,
        size_bytes=record.tar.size_bytes,
        crc64nvme=checksums.to_hex(record.tar.crc64nvme),
        etag=record.tar.etag,
        stored_frames=record.stored_frames,
        quarantined_frames=record.quarantined_frames,
        fingerprints=record.fingerprints,
    )
