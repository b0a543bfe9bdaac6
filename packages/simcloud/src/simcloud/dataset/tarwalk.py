"""Reading a shard's frames without their layers: headers and json members only, all verified.

``walk`` is the reader without I/O: a generator that asks for byte ranges and is sent them.
``read_frames`` feeds it from memory, ``fetch_frames`` by ranged GETs.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass

from simcloud.dataset.frames import FRAME_DIGITS
from simcloud.dataset.record import FrameRecord, LayerRecord, record_from_json
from simcloud.dataset.tar import (
    BLOCK,
    END_OF_ARCHIVE,
    RECORD_EXTENSION,
    StoredFrame,
    StoredLayer,
    layer_order,
    member_header,
    padding,
    record_member,
)
from simcloud.errors import Corruption, InvalidRequest
from simcloud.s3 import checksums

RangeReader = Callable[[int, int], Awaitable[bytes]]
"""Given (start, length), exactly these bytes of the tar."""
Walk = Generator[tuple[int, int], bytes, None]

WINDOW_BYTES = 32 << 10
"""What is fetched at once: enough for a header, a json member and the next frame's header."""
MAX_RECORD_BYTES = 4 << 20
"""Largest json member, as on the wire (`FrameHeader.record`)."""

_NAME = re.compile(
    rf"(?P<frame>\d{{{FRAME_DIGITS}}})\.(?P<camera>[a-z0-9][a-z0-9_-]*)"
    r"(\.(?P<annotator>[a-z0-9_]+))?\.(?P<extension>[a-z0-9]+)"
)


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    frame: int
    camera: str
    annotator: str
    """Empty for the json member."""
    offset: int
    length: int


class FrameWalk:
    """The reader's state between ranges.

    Args:
        size_bytes: length of the tar, or of the whole frames at its beginning.
        complete: whether the tar ends with its end-of-archive blocks at ``size_bytes``; else it is
            the durable beginning of one and ends with a frame.
    """

    def __init__(self, size_bytes: int, *, complete: bool = True) -> None:
        self._size = size_bytes
        self._complete = complete
        self._window = b""
        self._begin = 0
        self.found: list[StoredFrame] = []
        """Frames found since it was last emptied."""

    def walk(self) -> Walk:
        """Asks for ranges and fills ``found``.

        Raises:
            Corruption: anything that ``pack_frame`` would not have written.
        """
        offset = 0
        pending: list[_Member] = []
        last: tuple[int, str] | None = None
        end = self._size - (len(END_OF_ARCHIVE) if self._complete else 0)
        while offset < end:
            header = yield from self._bytes(offset, BLOCK)
            member = _parse_header(header, offset)
            if pending and (pending[0].frame, pending[0].camera) != (member.frame, member.camera):
                raise Corruption(
                    f"tar: {pending[-1].name} is followed by {member.name}, not by json"
                )
            if member.annotator:
                pending.append(member)
            else:
                record = yield from self._bytes(member.offset, _record_length(member))
                self.found.append(_stored_frame(member, record, pending, last))
                last = (member.frame, member.camera)
                pending = []
            offset = member.offset + member.length + padding(member.length)
        if pending or offset != end:
            raise Corruption(f"tar: a frame ends at {offset} of {end} bytes")
        if self._complete:
            tail = yield from self._bytes(end, len(END_OF_ARCHIVE))
            if tail != END_OF_ARCHIVE:
                raise Corruption(f"tar: no end of archive at {end}")

    def _bytes(self, start: int, length: int) -> Generator[tuple[int, int], bytes, bytes]:
        end = start + length
        if end > self._size:
            raise Corruption(f"tar: a member at {start} reaches beyond the end at {self._size}")
        if not (self._begin <= start and end <= self._begin + len(self._window)):
            wanted = min(max(length, WINDOW_BYTES), self._size - start)
            self._window = yield start, wanted
            self._begin = start
            if len(self._window) != wanted:
                raise Corruption(f"tar: {len(self._window)} bytes came of {wanted} at {start}")
        return self._window[start - self._begin : end - self._begin]


def read_frames(data: bytes | memoryview) -> Iterator[StoredFrame]:
    """Frames of a whole tar in memory, in order; its layers are not looked at.

    Raises:
        Corruption: not a shard of ours.
    """
    state = FrameWalk(len(data))
    walk = state.walk()
    try:
        wanted = next(walk)
        while True:
            start, length = wanted
            wanted = walk.send(bytes(data[start : start + length]))
            yield from _taken(state)
    except StopIteration:
        yield from _taken(state)


async def fetch_frames(
    read: RangeReader, size_bytes: int, *, complete: bool = True
) -> AsyncIterator[StoredFrame]:
    """Frames of a tar elsewhere, in order, by ranges that leave the layers out.

    Args:
        read: reads a range.
        size_bytes: length of the tar, or of its durable beginning.
        complete: whether it is whole, with its end-of-archive blocks.

    Raises:
        Corruption: not a shard of ours.
    """
    state = FrameWalk(size_bytes, complete=complete)
    walk = state.walk()
    try:
        wanted = next(walk)
        while True:
            start, length = wanted
            data = await read(start, length)
            wanted = walk.send(data)
            for frame in _taken(state):
                yield frame
    except StopIteration:
        for frame in _taken(state):
            yield frame


def _taken(state: FrameWalk) -> list[StoredFrame]:
    found = state.found
    state.found = []
    return found


def _parse_header(header: bytes, at: int) -> _Member:
    name = header[:100].rstrip(b"\0").decode("ascii", "replace")
    match = _NAME.fullmatch(name)
    if match is None or (match["annotator"] is None) != (match["extension"] == RECORD_EXTENSION):
        raise Corruption(f"tar: no member of ours at {at}, but {name!r}")
    try:
        length = int(header[124:135], 8)
        expected = member_header(name, length)
    except (ValueError, InvalidRequest) as error:
        raise Corruption(f"tar: {name} at {at}: {error}") from error
    if header != expected:
        # one comparison covers the checksum, the magic and every fixed field
        raise Corruption(f"tar: the header of {name} at {at} is damaged or not ours")
    return _Member(
        name=name,
        frame=int(match["frame"]),
        camera=match["camera"],
        annotator=match["annotator"] or "",
        offset=at + BLOCK,
        length=length,
    )


def _record_length(member: _Member) -> int:
    if member.length > MAX_RECORD_BYTES:
        raise Corruption(
            f"tar: {member.name} has {member.length} bytes, at most {MAX_RECORD_BYTES}"
        )
    return member.length


def _stored_frame(
    member: _Member, data: bytes, layers: list[_Member], last: tuple[int, str] | None
) -> StoredFrame:
    record = record_from_json(data)
    where = record_member(member.frame, member.camera)
    if (record.frame, record.camera) != (member.frame, member.camera):
        raise Corruption(f"tar: {where} is the record of {record.frame} {record.camera}")
    if last is not None and record.frame < last[0]:
        raise Corruption(f"tar: {where} comes after frame {last[0]}")
    return StoredFrame(
        frame=record.frame,
        camera=record.camera,
        record=data,
        record_offset=member.offset,
        layers=_stored_layers(record, layers, where),
    )


def _stored_layers(
    record: FrameRecord, members: list[_Member], where: str
) -> tuple[StoredLayer, ...]:
    expected = [(layer.member, layer.size_bytes) for layer in _in_order(record.layers, where)]
    found = [(member.name, member.length) for member in members]
    if expected != found:
        raise Corruption(f"tar: {where} names {expected}, before it stand {found}")
    return tuple(
        StoredLayer(
            annotator=layer.annotator,
            member=layer.member,
            offset=member.offset,
            length=member.length,
            crc64nvme=checksums.from_hex(layer.crc64nvme),
            media_type=layer.media_type,
        )
        for layer, member in zip(_in_order(record.layers, where), members, strict=True)
    )


def _in_order(layers: tuple[LayerRecord, ...], where: str) -> list[LayerRecord]:
    try:
        return sorted(layers, key=lambda layer: layer_order(layer.annotator))
    except InvalidRequest as error:
        raise Corruption(f"tar: {where}: {error}") from error
