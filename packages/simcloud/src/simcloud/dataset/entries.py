"""Where the frames of a run stand in its shards: what reading needs of the indexes, in memory."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import pyarrow as pa

from simcloud.dataset.manifest import Manifest
from simcloud.dataset.selection import Key
from simcloud.dataset.tar import StoredLayer
from simcloud.errors import Corruption
from simcloud.s3 import checksums

_KEPT_BYTES = 256 << 20
"""Of Arrow columns; about 100 bytes a layer, so that random access to millions of layers needs no
second look at an index."""

_COLUMNS = (
    "frame",
    "camera",
    "split",
    "quarantine_rule",
    "record_offset",
    "record_length",
    "layers",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """What reading one frame key needs."""

    shard: int
    frame: int
    camera: str
    split: str
    quarantined: bool
    record_offset: int
    record_length: int
    layers: tuple[StoredLayer, ...]

    @property
    def end(self) -> int:
        """The byte after the frame's last member, its record."""
        return self.record_offset + self.record_length


class EntryTable:
    """Indexes as columns, the least recently used dropped first.

    Args:
        manifest: of the run.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._tables: OrderedDict[int, pa.Table] = OrderedDict()
        self._bytes = 0

    def keep(self, shard: int, table: pa.Table) -> None:
        """Keeps what entries need of a shard's index.

        Raises:
            Corruption: its rows are not the shard's frame keys in their order.
        """
        if shard in self._tables:
            return
        # combined and copied, so that the rest of the index is not kept alive
        kept = table.select(list(_COLUMNS)).combine_chunks()
        of_shard = self._manifest.shards[shard]
        frames = of_shard.end_frame - of_shard.first_frame
        expected = frames * len(self._manifest.cameras)
        if kept.num_rows != expected:
            raise Corruption(f"index {shard} has {kept.num_rows} rows, expected {expected}")
        self._tables[shard] = kept
        self._bytes += kept.nbytes
        while self._bytes > _KEPT_BYTES and len(self._tables) > 1:
            _, dropped = self._tables.popitem(last=False)
            self._bytes -= dropped.nbytes

    def key_of(self, frame: int, camera: str) -> Key:
        """The key of a frame and a camera that the run has.

        Raises:
            NotFound: the run does not hold the frame.
        """
        shard = self._manifest.shard_of(frame)
        cameras = self._manifest.cameras
        first = shard.shard * self._manifest.frames_per_shard
        return shard.shard, (frame - first) * len(cameras) + cameras.index(camera)

    def entry(self, key: Key) -> Entry | None:
        """The entry of a key; None when its index is not kept, or has no such row."""
        shard, row = key
        table = self._tables.get(shard)
        if table is None or not 0 <= row < table.num_rows:
            return None
        self._tables.move_to_end(shard)
        (found,) = table.slice(row, 1).to_pylist()
        expected = self._manifest.cameras[row % len(self._manifest.cameras)]
        if found["camera"] != expected:
            raise Corruption(f"index {shard}: row {row} is of {found['camera']}, not {expected}")
        return Entry(
            shard=shard,
            frame=found["frame"],
            camera=found["camera"],
            split=found["split"],
            quarantined=found["quarantine_rule"] is not None,
            record_offset=found["record_offset"],
            record_length=found["record_length"],
            layers=tuple(
                StoredLayer(**{**layer, "crc64nvme": checksums.from_hex(layer["crc64nvme"])})
                for layer in found["layers"]
            ),
        )
