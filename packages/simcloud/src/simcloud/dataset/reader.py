"""Reading a published run: by its manifest alone, one ranged GET a layer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from simcloud.annotators import ANNOTATORS
from simcloud.dataset.frames import EncodedFrame, FrameRef, Layer
from simcloud.dataset.index import load_index, read_rows, shard_record
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.manifest import Manifest, ManifestShard, load_manifest
from simcloud.dataset.record import FrameRecord, record_from_json
from simcloud.dataset.rundoc import load_spec
from simcloud.dataset.tar import StoredLayer
from simcloud.errors import Corruption, InvalidRequest, NotFound
from simcloud.s3 import checksums
from simcloud.s3.objects import ObjectStore
from simcloud.s3.retrying import for_each
from simcloud.spec.model import Spec

_INDEXES_KEPT = 4
"""Shards whose index is kept in memory."""
_PREFETCH = 8
"""Frames fetched ahead."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """What reading one frame key needs."""

    frame: int
    camera: str
    split: str
    quarantined: bool
    record_offset: int
    record_length: int
    layers: tuple[StoredLayer, ...]


@dataclass(frozen=True, slots=True)
class _Index:
    table: pa.Table
    entries: dict[tuple[int, str], _Entry]


class Dataset:
    """A published run.

    Made by ``open``. Every read is checked: a layer against its CRC, an object by its ETag.
    """

    def __init__(
        self, store: ObjectStore, location: RunLocation, manifest: Manifest, spec: Spec
    ) -> None:
        self._store = store
        self.location = location
        self.manifest = manifest
        self.spec = spec
        self._indexes: OrderedDict[int, _Index] = OrderedDict()

    @classmethod
    async def open(
        cls, store: ObjectStore, location: RunLocation, *, generation: int | None = None
    ) -> Dataset:
        """A run by its manifest.

        Args:
            store: S3.
            location: the run.
            generation: of the plan; None: the highest that is published.

        Raises:
            NotFound: no such run, or not published.
            Corruption: a document can't be read, or they don't belong together.
        """
        manifest = await load_manifest(store, location, generation=generation)
        found = await load_spec(store, location)
        if found.spec_digest != manifest.spec_digest:
            raise Corruption(f"{location}: the manifest is of another spec than spec.json")
        return cls(store, location, manifest, found.spec)

    @property
    def shards(self) -> tuple[ManifestShard, ...]:
        """The committed shards, by number."""
        return self.manifest.shards

    async def rows(self, shard: int) -> pa.Table:
        """The index of a shard: a row a frame key, columns as in ``index_schema``.

        Raises:
            NotFound: the run has no such shard.
            Corruption: the index is not the manifest's.
        """
        return (await self._index(shard)).table

    async def record(self, frame: int, camera: str) -> FrameRecord:
        """All that is known of a frame but its pixels.

        Raises:
            NotFound: the run does not hold it.
            Corruption: it can't be read.
        """
        entry = await self._entry(frame, camera)
        return record_from_json(await self._record_bytes(entry))

    async def layer(self, frame: int, camera: str, annotator: str) -> bytes:
        """One annotator's encoded payload, by one ranged GET.

        Raises:
            NotFound: the run does not hold it, or the frame is quarantined.
            Corruption: the bytes are not those of the CRC.
        """
        entry = await self._entry(frame, camera)
        return await self._layer_bytes(entry, self._layer_of(entry, annotator))

    async def frame(
        self, frame: int, camera: str, *, annotators: Sequence[str] = ()
    ) -> EncodedFrame:
        """A frame with these layers, all of them by default; a quarantined one has none.

        Raises:
            NotFound: the run does not hold the frame or a layer.
            Corruption: the bytes are not what the index says.
        """
        return await self._frame(await self._entry(frame, camera), annotators)

    async def refs(self, annotator: str, *, split: str = "") -> AsyncIterator[FrameRef]:
        """References to one layer of every stored frame, in order; nothing of it is read.

        Args:
            annotator: name of a layer's annotator.
            split: only frames of this split; empty: all.
        """
        async for entry in self._stored(split):
            layer = self._layer_of(entry, annotator)
            shard = self.manifest.shard_of(entry.frame)
            yield FrameRef(
                bucket=self.location.bucket,
                key=self.location.key(shard.path),
                etag=shard.etag,
                offset=layer.offset,
                length=layer.length,
                media_type=layer.media_type,
            )

    async def frames(
        self, *, split: str = "", annotators: Sequence[str] = (), prefetch: int = _PREFETCH
    ) -> AsyncIterator[EncodedFrame]:
        """Every stored frame in order, ``prefetch`` of them at a time.

        Args:
            split: only frames of this split; empty: all.
            annotators: layers to read; empty: all.
            prefetch: frames fetched together and held in memory, 1 or more.
        """
        batch: list[_Entry] = []
        async for entry in self._stored(split):
            batch.append(entry)
            if len(batch) == prefetch:
                for frame in await self._batch(batch, annotators):
                    yield frame
                batch = []
        for frame in await self._batch(batch, annotators):
            yield frame

    async def _batch(
        self, entries: Sequence[_Entry], annotators: Sequence[str]
    ) -> list[EncodedFrame]:
        async def fetch(entry: _Entry) -> EncodedFrame:
            return await self._frame(entry, annotators)

        return await for_each(entries, fetch, limit=_PREFETCH)

    async def _stored(self, split: str) -> AsyncIterator[_Entry]:
        for shard in self.manifest.shards:
            for entry in (await self._index(shard.shard)).entries.values():
                if not entry.quarantined and split in {"", entry.split}:
                    yield entry

    async def _frame(self, entry: _Entry, annotators: Sequence[str]) -> EncodedFrame:
        if not annotators:
            return await self._whole_frame(entry)
        wanted = [] if entry.quarantined else [self._layer_of(entry, name) for name in annotators]
        return _encoded(
            entry,
            await self._record_bytes(entry),
            [
                (layer, await self._layer_bytes(entry, layer))
                for layer in entry.layers
                if layer in wanted
            ],
        )

    async def _whole_frame(self, entry: _Entry) -> EncodedFrame:
        """All members of a frame by one GET: they stand side by side."""
        begin = min([layer.offset for layer in entry.layers], default=entry.record_offset)
        end = entry.record_offset + entry.record_length
        data = await self._range(entry.frame, begin, end - begin)
        layers = []
        for layer in entry.layers:
            start = layer.offset - begin
            layers.append((layer, self._checked(layer, data[start : start + layer.length])))
        return _encoded(entry, data[entry.record_offset - begin :], layers)

    async def _record_bytes(self, entry: _Entry) -> bytes:
        return await self._range(entry.frame, entry.record_offset, entry.record_length)

    async def _layer_bytes(self, entry: _Entry, layer: StoredLayer) -> bytes:
        return self._checked(layer, await self._range(entry.frame, layer.offset, layer.length))

    def _checked(self, layer: StoredLayer, data: bytes) -> bytes:
        if checksums.crc64nvme(data) != layer.crc64nvme:
            raise Corruption(f"{self.location}: {layer.member} is not what its CRC says")
        return data

    async def _range(self, frame: int, offset: int, length: int) -> bytes:
        shard = self.manifest.shard_of(frame)
        body = await self._store.get(
            self.location.bucket,
            self.location.key(shard.path),
            start=offset,
            length=length,
            if_match=shard.etag,
        )
        return body.data

    async def _entry(self, frame: int, camera: str) -> _Entry:
        if camera not in self.manifest.cameras:
            raise NotFound(
                f"{self.location} has no camera {camera!r}; it has "
                f"{', '.join(self.manifest.cameras)}"
            )
        shard = self.manifest.shard_of(frame)
        return (await self._index(shard.shard)).entries[frame, camera]

    def _layer_of(self, entry: _Entry, annotator: str) -> StoredLayer:
        if annotator not in ANNOTATORS:
            raise InvalidRequest("annotator", f"there is no annotator {annotator!r}")
        for layer in entry.layers:
            if layer.annotator == annotator:
                return layer
        why = "it is quarantined" if entry.quarantined else f"the run stores no {annotator}"
        raise NotFound(f"{self.location}: frame {entry.frame} of {entry.camera}: {why}")

    async def _index(self, shard: int) -> _Index:
        if not 0 <= shard < len(self.manifest.shards):
            raise NotFound(f"{self.location} has {len(self.manifest.shards)} shards, no {shard}")
        if shard in self._indexes:
            self._indexes.move_to_end(shard)
            return self._indexes[shard]
        data = await load_index(self._store, self.location, shard)
        expected = self.manifest.shards[shard]
        tar = shard_record(data).tar
        if (tar.size_bytes, checksums.to_hex(tar.crc64nvme)) != (
            expected.size_bytes,
            expected.crc64nvme,
        ):
            raise Corruption(
                f"{self.location}: index {shard} is of another tar than the manifest's"
            )
        table = read_rows(data)
        index = _Index(table, {(row.frame, row.camera): row for row in _entries(table)})
        self._indexes[shard] = index
        if len(self._indexes) > _INDEXES_KEPT:
            self._indexes.popitem(last=False)
        return index


def _encoded(
    entry: _Entry, record: bytes, layers: Sequence[tuple[StoredLayer, bytes]]
) -> EncodedFrame:
    return EncodedFrame(
        frame=entry.frame,
        camera=entry.camera,
        record=record,
        layers=tuple(
            Layer(
                annotator=layer.annotator,
                extension=layer.member.rpartition(".")[2],
                media_type=layer.media_type,
                data=data,
                crc64nvme=layer.crc64nvme,
            )
            for layer, data in layers
        ),
    )


_ENTRY_COLUMNS = (
    "frame",
    "camera",
    "split",
    "quarantine_rule",
    "record_offset",
    "record_length",
    "layers",
)


def _entries(table: pa.Table) -> Iterator[_Entry]:
    rows: list[dict[str, Any]] = table.select(list(_ENTRY_COLUMNS)).to_pylist()
    for row in rows:
        yield _Entry(
            frame=row["frame"],
            camera=row["camera"],
            split=row["split"],
            quarantined=row["quarantine_rule"] is not None,
            record_offset=row["record_offset"],
            record_length=row["record_length"],
            layers=tuple(
                StoredLayer(**{**layer, "crc64nvme": checksums.from_hex(layer["crc64nvme"])})
                for layer in row["layers"]
            ),
        )
