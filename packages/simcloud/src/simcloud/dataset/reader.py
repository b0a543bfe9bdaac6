"""Reading a published run: by its manifest alone, one ranged GET a layer, neighbours together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pyarrow as pa

from simcloud.annotators import ANNOTATORS
from simcloud.concurrency.ahead import run_ahead
from simcloud.dataset.entries import Entry, EntryTable
from simcloud.dataset.fetch import Fetched, Pieces, ReadAhead, Span, spans
from simcloud.dataset.frames import EncodedFrame, FrameRef, Layer
from simcloud.dataset.index import load_index, read_rows, shard_record
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.manifest import Manifest, ManifestShard, load_manifest
from simcloud.dataset.record import FrameRecord, record_from_json
from simcloud.dataset.rundoc import load_spec
from simcloud.dataset.selection import Filter, Key, Shuffle, matching_rows, ordered
from simcloud.dataset.tar import StoredLayer
from simcloud.errors import Corruption, InvalidRequest, NotFound
from simcloud.s3 import checksums
from simcloud.s3.objects import ObjectStore
from simcloud.s3.retrying import for_each
from simcloud.spec.model import Spec

_INDEXES_AT_ONCE = 8
"""Indexes fetched together where many are needed."""
_ALL = Filter()
_DEFAULT = ReadAhead()


class Dataset:
    """A published run.

    Made by ``open``. Every read is checked: a layer against its CRC, an object by its ETag. Used by
    the tasks of one event loop; ``simcloud.dataset.loading`` has it for threads and processes.
    """

    def __init__(
        self, store: ObjectStore, location: RunLocation, manifest: Manifest, spec: Spec
    ) -> None:
        self._store = store
        self.location = location
        self.manifest = manifest
        self.spec = spec
        self._tables = EntryTable(manifest)

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
        if not 0 <= shard < len(self.manifest.shards):
            raise NotFound(f"{self.location} has {len(self.manifest.shards)} shards, no {shard}")
        data = await load_index(self._store, self.location, shard)
        expected = self.manifest.shards[shard]
        tar = shard_record(data).tar
        found = (tar.size_bytes, checksums.to_hex(tar.crc64nvme))
        if found != (expected.size_bytes, expected.crc64nvme):
            raise Corruption(
                f"{self.location}: index {shard} is of another tar than the manifest's"
            )
        table = await asyncio.to_thread(read_rows, data)
        self._tables.keep(shard, table)
        return table

    async def record(self, frame: int, camera: str) -> FrameRecord:
        """All that is known of a frame but its pixels.

        Raises:
            NotFound: the run does not hold it.
            Corruption: it can't be read.
        """
        entry = await self._entry(frame, camera)
        data = await self._range(entry.shard, entry.record_offset, entry.end)
        return record_from_json(data)

    async def layer(self, frame: int, camera: str, annotator: str) -> bytes:
        """One annotator's encoded payload, by one ranged GET.

        Raises:
            NotFound: the run does not hold it, or the frame is quarantined.
            Corruption: the bytes are not those of the CRC.
        """
        entry = await self._entry(frame, camera)
        layer = self._layer_of(entry, annotator)
        data = await self._range(entry.shard, layer.offset, layer.offset + layer.length)
        return self._checked(layer, data)

    async def frame(
        self, frame: int, camera: str, *, annotators: Sequence[str] = ()
    ) -> EncodedFrame:
        """A frame with these layers, all of them by default; a quarantined one has none.

        Raises:
            NotFound: the run does not hold the frame or a layer.
            Corruption: the bytes are not what the index says.
        """
        entry = await self._entry(frame, camera)
        return (await self._block([entry], annotators, _DEFAULT))[0]

    async def keys(self, filter_: Filter = _ALL) -> list[Key]:
        """The stored frames that a filter lets through, ascending.

        Raises:
            InvalidRequest: the filter's condition can't be understood, or the run has not one of
                its shards.
            Corruption: an index is not the manifest's.
        """
        shards = self.manifest.shards
        if filter_.shards:
            wanted = set(filter_.shards)
            if absent := wanted - {item.shard for item in shards}:
                raise InvalidRequest(
                    "shards", f"{self.location} has no shard {min(absent)}, only {len(shards)}"
                )
            shards = tuple(item for item in shards if item.shard in wanted)

        async def of_shard(shard: ManifestShard) -> list[Key]:
            table = await self.rows(shard.shard)
            rows = await asyncio.to_thread(matching_rows, table, filter_)
            return [(shard.shard, row) for row in rows]

        found = await for_each(shards, of_shard, limit=_INDEXES_AT_ONCE)
        return [key for keys in found for key in keys]

    async def at(
        self, keys: Sequence[Key], *, annotators: Sequence[str] = (), ahead: ReadAhead = _DEFAULT
    ) -> list[EncodedFrame]:
        """The frames of these keys, in their order, neighbours by one GET.

        Raises:
            NotFound: there is no such key or layer.
            Corruption: the bytes are not what the index says.
        """
        by_shard: dict[int, list[Key]] = {}
        for key in dict.fromkeys(keys):
            by_shard.setdefault(key[0], []).append(key)

        async def of_shard(wanted: list[Key]) -> list[tuple[Key, EncodedFrame]]:
            entries = [await self._entry_at(key) for key in wanted]
            return list(zip(wanted, await self._block(entries, annotators, ahead), strict=True))

        parts = await for_each(by_shard.values(), of_shard, limit=ahead.blocks)
        frames = {key: frame for part in parts for key, frame in part}
        return [frames[key] for key in keys]

    def order(
        self,
        keys: Sequence[Key],
        *,
        shuffle: Shuffle = "",
        seed: int = 0,
        epoch: int = 0,
        ahead: ReadAhead = _DEFAULT,
    ) -> list[tuple[Key, ...]]:
        """The order of an epoch over a selection, in blocks that are read together.

        A pure function of its arguments and the manifest, so that an epoch can be resumed from the
        number of frames that were taken.
        """
        stored = max(1, sum(shard.stored_frames for shard in self.manifest.shards))
        total = sum(shard.size_bytes for shard in self.manifest.shards)
        block = max(1, ahead.block_bytes * stored // max(1, total))
        return ordered(keys, shuffle=shuffle, seed=seed, epoch=epoch, block=block)

    async def frames(
        self,
        filter_: Filter = _ALL,
        *,
        annotators: Sequence[str] = (),
        shuffle: Shuffle = "",
        seed: int = 0,
        epoch: int = 0,
        skip: int = 0,
        ahead: ReadAhead = _DEFAULT,
    ) -> AsyncGenerator[EncodedFrame, None]:
        """Every stored frame that the filter lets through, read ahead.

        Args:
            filter_: which frames.
            annotators: layers to read; empty: all.
            shuffle: how much the order is mixed.
            seed: of the order.
            epoch: another order for every pass.
            skip: frames of this epoch that were taken already; nothing of them is read.
            ahead: how much is read before it is asked for.

        Raises:
            InvalidRequest: the filter's condition can't be understood.
            Corruption: the bytes are not what the index says.
        """
        keys = await self.keys(filter_)
        blocks = self.order(keys, shuffle=shuffle, seed=seed, epoch=epoch, ahead=ahead)
        async with aclosing(self.read(_after(blocks, skip), annotators, ahead)) as found:
            async for frame in found:
                yield frame

    async def read(
        self, blocks: Sequence[tuple[Key, ...]], annotators: Sequence[str], ahead: ReadAhead
    ) -> AsyncGenerator[EncodedFrame, None]:
        """The frames of blocks, as ``order`` gives them, read ahead."""
        mean = max(1, ahead.block_bytes // max(1, len(blocks[0]) if blocks else 1))

        async def fetch(block: tuple[Key, ...]) -> list[EncodedFrame]:
            entries = [await self._entry_at(key) for key in block]
            return await self._block(entries, annotators, ahead)

        results = run_ahead(
            blocks,
            fetch,
            cost=lambda block: mean * len(block),
            budget=ahead.buffer_bytes,
            limit=ahead.blocks,
        )
        async with aclosing(results):
            async for frames in results:
                for frame in frames:
                    yield frame

    async def refs(self, annotator: str, *, split: str = "") -> AsyncGenerator[FrameRef, None]:
        """References to one layer of every stored frame, in order; nothing of it is read.

        Args:
            annotator: name of a layer's annotator.
            split: only frames of this split; empty: all.
        """
        for shard in self.manifest.shards:
            table = await self.rows(shard.shard)
            for row in matching_rows(table, Filter(split=split)):
                layer = self._layer_of(await self._entry_at((shard.shard, row)), annotator)
                yield FrameRef(
                    bucket=self.location.bucket,
                    key=self.location.key(shard.path),
                    etag=shard.etag,
                    offset=layer.offset,
                    length=layer.length,
                    media_type=layer.media_type,
                )

    async def _block(
        self, entries: Sequence[Entry], annotators: Sequence[str], ahead: ReadAhead
    ) -> list[EncodedFrame]:
        """Frames of one shard, in the order of the entries."""
        wanted = [(entry, self._wanted(entry, annotators)) for entry in entries]
        pieces = {(entry.record_offset, entry.end) for entry in entries} | {
            (layer.offset, layer.offset + layer.length) for _, layers in wanted for layer in layers
        }

        async def fetch(span: Span) -> Fetched:
            data = await self._range(entries[0].shard, span.begin, span.end)
            return Fetched(span.begin, memoryview(data))

        ranges = spans(pieces, ahead.gap_bytes)
        found = Pieces(await for_each(ranges, fetch, limit=ahead.blocks))
        return [self._cut(entry, layers, found) for entry, layers in wanted]

    def _wanted(self, entry: Entry, annotators: Sequence[str]) -> tuple[StoredLayer, ...]:
        if not annotators or entry.quarantined:
            return entry.layers
        named = [self._layer_of(entry, name) for name in annotators]
        return tuple(layer for layer in entry.layers if layer in named)

    def _cut(self, entry: Entry, layers: Sequence[StoredLayer], found: Pieces) -> EncodedFrame:
        return EncodedFrame(
            frame=entry.frame,
            camera=entry.camera,
            record=found.cut(entry.record_offset, entry.record_length),
            layers=tuple(
                Layer(
                    annotator=layer.annotator,
                    extension=layer.member.rpartition(".")[2],
                    media_type=layer.media_type,
                    data=self._checked(layer, found.cut(layer.offset, layer.length)),
                    crc64nvme=layer.crc64nvme,
                )
                for layer in layers
            ),
        )

    def _checked(self, layer: StoredLayer, data: bytes) -> bytes:
        if checksums.crc64nvme(data) != layer.crc64nvme:
            raise Corruption(f"{self.location}: {layer.member} is not what its CRC says")
        return data

    async def _range(self, shard: int, begin: int, end: int) -> bytes:
        found = self.manifest.shards[shard]
        body = await self._store.get(
            self.location.bucket,
            self.location.key(found.path),
            start=begin,
            length=end - begin,
            if_match=found.etag,
        )
        return body.data

    async def _entry(self, frame: int, camera: str) -> Entry:
        if camera not in self.manifest.cameras:
            raise NotFound(
                f"{self.location} has no camera {camera!r}; it has "
                f"{', '.join(self.manifest.cameras)}"
            )
        return await self._entry_at(self._tables.key_of(frame, camera))

    async def _entry_at(self, key: Key) -> Entry:
        entry = self._tables.entry(key)
        if entry is None:
            await self.rows(key[0])
            entry = self._tables.entry(key)
        if entry is None:
            raise Corruption(f"{self.location}: index {key[0]} has no row {key[1]}")
        return entry

    def _layer_of(self, entry: Entry, annotator: str) -> StoredLayer:
        if annotator not in ANNOTATORS:
            raise InvalidRequest("annotator", f"there is no annotator {annotator!r}")
        for layer in entry.layers:
            if layer.annotator == annotator:
                return layer
        why = "it is quarantined" if entry.quarantined else f"the run stores no {annotator}"
        raise NotFound(f"{self.location}: frame {entry.frame} of {entry.camera}: {why}")


def _after(blocks: Sequence[tuple[Key, ...]], skip: int) -> list[tuple[Key, ...]]:
    """What is left of an epoch when so many frames were taken."""
    left: list[tuple[Key, ...]] = []
    for block in blocks:
        if skip < len(block):
            left.append(block[skip:])
        skip = max(0, skip - len(block))
    return left
