"""One shard of a run, looked at in S3: its index, its tar, and if asked every byte."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from simcloud.accounting.report import Problem
from simcloud.dataset.committed import check_record, tar_problem
from simcloud.dataset.index import ShardRecord, load_index, read_rows, shard_record
from simcloud.dataset.index_build import build_index, fetch_shard_frames
from simcloud.dataset.index_compare import rows_agree
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.quarantine import QuarantinedFrame, quarantined_rows
from simcloud.dataset.rundoc import RunDocuments
from simcloud.dataset.tar import StoredFrame
from simcloud.errors import Corruption, NotFound
from simcloud.s3 import checksums
from simcloud.s3.objects import ObjectStore
from simcloud.spec.plan import ShardFrames

CHUNK_BYTES = 8 << 20
"""What is read of a tar at once."""

FrameKey = tuple[int, str]


@dataclass(slots=True)
class ShardFinding:
    """What was found of one committed shard."""

    shard: ShardFrames
    stored: set[FrameKey] = field(default_factory=set)
    quarantined: list[QuarantinedFrame] = field(default_factory=list)
    record: ShardRecord | None = None
    """None when its index can't be read."""
    problems: list[Problem] = field(default_factory=list)
    bytes_checked: int = 0


class ShardChecker:
    """Checks shards of a run.

    Args:
        store: S3.
        documents: the run.
        deep: read every byte of every tar, and make each index again from its tar.
    """

    def __init__(self, store: ObjectStore, documents: RunDocuments, *, deep: bool) -> None:
        self._store = store
        self._documents = documents
        self._location: RunLocation = documents.location
        self._deep = deep

    async def check(self, shard: ShardFrames) -> ShardFinding:
        """Everything that is wrong with a committed shard; errors of S3 itself are raised."""
        finding = ShardFinding(shard=shard)
        try:
            index = await load_index(self._store, self._location, shard.shard)
            record = shard_record(index)
            check_record(record, self._documents)
            rows = read_rows(index, ["frame", "camera", "split", "quarantine_rule"]).to_pylist()
            self._count(finding, record, rows, index)
            finding.record = record
            if problem := await tar_problem(self._store, self._location, record):
                self._lose(finding, problem)
            elif self._deep:
                await self._read_all(finding, record, index)
        except (Corruption, NotFound) as error:
            self._lose(finding, str(error))
        return finding

    def _count(
        self,
        finding: ShardFinding,
        record: ShardRecord,
        rows: Sequence[dict[str, Any]],
        index: bytes,
    ) -> None:
        keys: list[FrameKey] = [(row["frame"], row["camera"]) for row in rows]
        if len(set(keys)) != len(keys):
            doubled = next(key for position, key in enumerate(keys) if key in keys[:position])
            self._say(finding, f"frame {doubled[0]} of {doubled[1]} has two rows")
        shard = finding.shard
        foreign = [key for key in keys if not self._belongs(shard, key)]
        if foreign:
            self._say(finding, f"frame {foreign[0][0]} of {foreign[0][1]} does not belong in it")
        odd = [row for row in rows if self._documents.plan.split_of(row["frame"]) != row["split"]]
        if odd:
            self._say(
                finding, f"frame {odd[0]['frame']} is in split {odd[0]['split']}, not the plan's"
            )
        # By key: a row that is there twice, or does not belong here, counts for no frame.
        by_key = {(row.frame, row.camera): row for row in quarantined_rows(index)}
        finding.quarantined = [row for key, row in by_key.items() if self._belongs(shard, key)]
        kept_out = {(row.frame, row.camera) for row in finding.quarantined}
        finding.stored = {key for key in keys if self._belongs(shard, key)} - kept_out
        counted = (len(finding.stored), len(kept_out))
        if counted != (record.stored_frames, record.quarantined_frames):
            self._say(
                finding,
                f"it has {counted[0]} stored and {counted[1]} quarantined rows; it says "
                f"{record.stored_frames} and {record.quarantined_frames}",
            )

    def _belongs(self, shard: ShardFrames, key: FrameKey) -> bool:
        return shard.first <= key[0] < shard.end and key[1] in self._documents.cameras

    async def _read_all(self, finding: ShardFinding, record: ShardRecord, index: bytes) -> None:
        """Every byte against the CRCs of the object and of each layer; the index against the tar.

        Raises:
            Corruption: a byte is not what a checksum says, or the tar is not a shard.
        """
        frames = await fetch_shard_frames(self._store, self._location, record.tar)
        rebuilt = await asyncio.to_thread(
            build_index, self._location.run, record.shard, record.tar, frames
        )
        if not rows_agree(rebuilt, index):
            self._say(finding, "its rows are not those of the tar")
        layers = _LayerChecks(frames)
        crc = 0
        for start in range(0, record.tar.size_bytes, CHUNK_BYTES):
            length = min(CHUNK_BYTES, record.tar.size_bytes - start)
            body = await self._store.get(
                self._location.bucket,
                self._location.key(record.tar.path),
                start=start,
                length=length,
                if_match=record.tar.etag,
            )
            crc = checksums.crc64nvme(body.data, crc)
            layers.feed(start, body.data)
            finding.bytes_checked += length
        for member in layers.damaged:
            self._damaged(finding, member)
        if crc != record.tar.crc64nvme:
            raise Corruption(
                f"{record.tar.path}: its bytes have CRC {checksums.to_hex(crc)}, its index says "
                f"{checksums.to_hex(record.tar.crc64nvme)}"
            )

    async def sample(self, finding: ShardFinding, keys: Sequence[FrameKey]) -> None:
        """Reads these frames of a shard, layer by layer, and checks them."""
        record = finding.record
        if record is None:
            return
        index = await load_index(self._store, self._location, finding.shard.shard)
        table = read_rows(index, ["frame", "camera", "layers"])
        for row in table.to_pylist():
            if (row["frame"], row["camera"]) not in keys:
                continue
            for layer in row["layers"]:
                body = await self._store.get(
                    self._location.bucket,
                    self._location.key(record.tar.path),
                    start=layer["offset"],
                    length=layer["length"],
                )
                finding.bytes_checked += layer["length"]
                if checksums.to_hex(checksums.crc64nvme(body.data)) != layer["crc64nvme"]:
                    self._damaged(finding, layer["member"])

    def _say(self, finding: ShardFinding, detail: str) -> None:
        key = self._location.index_key(finding.shard.shard)
        mend = f"simcloud verify {self._location} --deep, to see whether the tar is whole"
        finding.problems.append(Problem(where=key, detail=detail, mend=mend))

    def _damaged(self, finding: ShardFinding, member: str) -> None:
        key = self._location.shard_key(finding.shard.shard)
        finding.problems.append(
            Problem(
                where=f"{key}:{member}",
                detail="its bytes are not those of its CRC",
                mend=_REMAKE.format(location=self._location, how="--deep --discard-broken"),
                discard=self._objects(finding),
            )
        )

    def _lose(self, finding: ShardFinding, detail: str) -> None:
        """The shard can't be trusted: nothing of it counts."""
        finding.stored = set()
        finding.quarantined = []
        finding.record = None
        finding.problems.append(
            Problem(
                where=self._location.shard_key(finding.shard.shard),
                detail=detail,
                mend=_REMAKE.format(location=self._location, how="--discard-broken"),
                discard=self._objects(finding),
            )
        )

    def _objects(self, finding: ShardFinding) -> tuple[str, ...]:
        """The shard's objects; the index first: it is what commits the shard."""
        shard = finding.shard.shard
        return self._location.index_key(shard), self._location.shard_key(shard)


_REMAKE = "simcloud verify {location} {how}; simcloud resume {location}"


class _LayerChecks:
    """CRCs of all layers of a tar, from its bytes in order."""

    def __init__(self, frames: Sequence[StoredFrame]) -> None:
        self._layers = [layer for frame in frames for layer in frame.layers]
        self._next = 0
        self._crc = 0
        self.damaged: list[str] = []
        """Members whose bytes are not those of their CRC."""

    def feed(self, start: int, data: bytes) -> None:
        """The next bytes of the tar; they begin at ``start``."""
        view = memoryview(data)
        end = start + len(data)
        while self._next < len(self._layers):
            layer = self._layers[self._next]
            layer_end = layer.offset + layer.length
            begin = max(layer.offset, start)
            stop = min(layer_end, end)
            if begin >= stop:
                return
            self._crc = checksums.crc64nvme(view[begin - start : stop - start], self._crc)
            if stop < layer_end:
                return
            if self._crc != layer.crc64nvme:
                self.damaged.append(layer.member)
            self._crc = 0
            self._next += 1


def choose_sample(
    findings: Sequence[ShardFinding], count: int, rng: random.Random
) -> dict[int, list[FrameKey]]:
    """``count`` stored frame keys at random, by shard."""
    keys = sorted((finding.shard.shard, key) for finding in findings for key in finding.stored)
    chosen: dict[int, list[FrameKey]] = {}
    for shard, key in rng.sample(keys, min(count, len(keys))):
        chosen.setdefault(shard, []).append(key)
    return chosen
