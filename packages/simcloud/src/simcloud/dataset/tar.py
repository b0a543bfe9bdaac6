"""The shard as a tar: deterministic, written frame by frame, read without its pixels.

A shard is a POSIX ustar archive that WebDataset and every tar reader opens. A frame is one sample:
its layers in the order of the annotator table, then its json member. All metadata is fixed (mode
0644, uid, gid and mtime 0, no names), so the bytes are a function of the frames alone, and so are
every offset and checksum: a layer is never read again to know the CRC of the archive.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from simcloud.annotators import ANNOTATORS
from simcloud.dataset.frames import EncodedFrame, member_stem
from simcloud.errors import InvalidRequest
from simcloud.s3 import checksums

BLOCK = 512
RECORD_EXTENSION = "json"
MAX_MEMBER_BYTES = 8**11 - 1
"""What a ustar header's size field can say: 8 GiB - 1."""
_MAX_NAME_BYTES = 100

END_OF_ARCHIVE = bytes(2 * BLOCK)
"""Two zero blocks: what a tar ends with. Nothing is padded to 10 KiB: readers don't need it."""
END_OF_ARCHIVE_CRC = checksums.crc64nvme(END_OF_ARCHIVE)

_ORDER = {name: position for position, name in enumerate(ANNOTATORS)}


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """Where one layer stands in its shard."""

    annotator: str
    member: str
    """Name of the tar member."""
    offset: int
    """First byte of the layer in the tar."""
    length: int
    """Bytes."""
    crc64nvme: int
    media_type: str


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """A frame as it stands in its shard: all of it but its layers' bytes."""

    frame: int
    camera: str
    record: bytes
    """The json member, verbatim."""
    record_offset: int
    """First byte of the json member in the tar."""
    layers: tuple[StoredLayer, ...]


@dataclass(frozen=True, slots=True)
class LayerPieces:
    """A layer whose bytes stand apart in memory, as they came."""

    annotator: str
    extension: str
    media_type: str
    pieces: tuple[checksums.Buffer, ...]
    size_bytes: int
    """Of all pieces."""
    crc64nvme: int
    """Of all pieces, one after another."""


@dataclass(frozen=True, slots=True)
class FramePieces:
    """A frame on its way through, its layers' bytes not joined."""

    frame: int
    camera: str
    record: bytes
    """The frame's json member, verbatim."""
    layers: tuple[LayerPieces, ...]

    @property
    def size_bytes(self) -> int:
        """Payload bytes, without tar headers and padding."""
        return len(self.record) + sum(layer.size_bytes for layer in self.layers)


@dataclass(frozen=True, slots=True)
class PackedFrame:
    """A frame as tar bytes."""

    chunks: tuple[checksums.Buffer, ...]
    """To be written one after another; the layers' own bytes are not copied."""
    size_bytes: int
    """Length of all chunks, a multiple of 512."""
    crc64nvme: int
    """CRC of all chunks."""
    stored: StoredFrame


def layer_order(annotator: str) -> int:
    """Position of an annotator's layer within a frame.

    Raises:
        InvalidRequest: unknown annotator.
    """
    try:
        return _ORDER[annotator]
    except KeyError:
        raise InvalidRequest(
            "frame.layers", f"unknown annotator {annotator!r}; there are: {', '.join(ANNOTATORS)}"
        ) from None


def layer_member(frame: int, camera: str, annotator: str, extension: str) -> str:
    """Name of a layer's member: ``<frame>.<camera>.<annotator>.<extension>``."""
    return f"{member_stem(frame, camera)}.{annotator}.{extension}"


def record_member(frame: int, camera: str) -> str:
    """Name of a frame's json member: ``<frame>.<camera>.json``."""
    return f"{member_stem(frame, camera)}.{RECORD_EXTENSION}"


def pack_frame(frame: EncodedFrame, *, offset: int) -> PackedFrame:
    """As ``pack_pieces``, of a frame whose layers are whole."""
    return pack_pieces(
        FramePieces(
            frame=frame.frame,
            camera=frame.camera,
            record=frame.record,
            layers=tuple(
                LayerPieces(
                    annotator=layer.annotator,
                    extension=layer.extension,
                    media_type=layer.media_type,
                    pieces=(layer.data,),
                    size_bytes=len(layer.data),
                    crc64nvme=layer.crc64nvme,
                )
                for layer in frame.layers
            ),
        ),
        offset=offset,
    )


def pack_pieces(frame: FramePieces, *, offset: int) -> PackedFrame:
    """A frame as tar bytes, to stand at ``offset``.

    The layers' CRCs are taken as they came; they have been checked where the bytes came in.

    Args:
        frame: the frame; its layers in any order.
        offset: where it will begin in the tar, a multiple of 512.

    Raises:
        InvalidRequest: an unknown annotator, two layers of one, an empty or oversized member.
    """
    layers = _ordered(frame.layers)
    packing = _Packing(offset)
    stored = []
    for layer in layers:
        member = layer_member(frame.frame, frame.camera, layer.annotator, layer.extension)
        begin = packing.add(member, layer.pieces, layer.size_bytes, layer.crc64nvme)
        stored.append(
            StoredLayer(
                annotator=layer.annotator,
                member=member,
                offset=begin,
                length=layer.size_bytes,
                crc64nvme=layer.crc64nvme,
                media_type=layer.media_type,
            )
        )
    record_offset = packing.add(
        record_member(frame.frame, frame.camera),
        (frame.record,),
        len(frame.record),
        checksums.crc64nvme(frame.record),
    )
    return PackedFrame(
        chunks=tuple(packing.chunks),
        size_bytes=packing.offset - offset,
        crc64nvme=packing.crc64nvme,
        stored=StoredFrame(
            frame=frame.frame,
            camera=frame.camera,
            record=frame.record,
            record_offset=record_offset,
            layers=tuple(stored),
        ),
    )


def packed_size(record_bytes: int, layer_bytes: Iterable[int]) -> int:
    """Tar bytes of a frame by the sizes of its members."""
    return sum(BLOCK + length + padding(length) for length in (*layer_bytes, record_bytes))


def padding(length: int) -> int:
    """Zero bytes that follow a member of ``length`` bytes."""
    return -length % BLOCK


def member_header(name: str, size: int) -> bytes:
    """The 512-byte ustar header of a member (POSIX.1-1988, metadata fixed).

    Raises:
        InvalidRequest: the name is not ASCII or longer than 100 bytes, or the size is not 1 byte
            to 8 GiB.
    """
    if not 1 <= size <= MAX_MEMBER_BYTES:
        raise InvalidRequest("frame.layers", f"{name}: {size} bytes; 1 byte to 8 GiB can be stored")
    if not name.isascii() or len(name) > _MAX_NAME_BYTES:
        raise InvalidRequest("frame.layers", f"member name {name!r} is not 1 to 100 ASCII bytes")
    digits = b"%011o" % size
    # The fields that never change are summed once; the checksum counts its own as spaces.
    total = _FIXED_SUM + sum(name.encode()) + sum(digits)
    header = _FIXED.copy()
    header[0 : len(name)] = name.encode()
    header[124:135] = digits
    header[148:156] = b"%06o\0 " % total
    return bytes(header)


def _fixed_fields() -> bytearray:
    header = bytearray(BLOCK)
    header[100:108] = b"0000644\0"  # mode
    header[108:116] = b"0000000\0"  # uid
    header[116:124] = b"0000000\0"  # gid
    header[136:148] = b"00000000000\0"  # mtime
    header[148:156] = b"        "  # the checksum
    header[156:157] = b"0"  # regular file
    header[257:265] = b"ustar\x0000"
    return header


_FIXED = _fixed_fields()
_FIXED_SUM = sum(_FIXED)


def _ordered(layers: tuple[LayerPieces, ...]) -> list[LayerPieces]:
    ordered = sorted(layers, key=lambda layer: layer_order(layer.annotator))
    for before, after in pairwise(ordered):
        if before.annotator == after.annotator:
            raise InvalidRequest("frame.layers", f"two layers of {after.annotator}")
    return ordered


class _Packing:
    """Chunks of a frame so far, with their running offset and CRC."""

    def __init__(self, offset: int) -> None:
        if offset % BLOCK:
            raise InvalidRequest("offset", f"{offset} is not a multiple of {BLOCK}")
        self.offset = offset
        self.crc64nvme = 0
        self.chunks: list[checksums.Buffer] = []

    def add(
        self, name: str, pieces: tuple[checksums.Buffer, ...], size: int, crc64nvme: int
    ) -> int:
        """Adds a member of ``size`` bytes and returns the offset of its data."""
        header = member_header(name, size)
        tail = bytes(padding(size))
        begin = self.offset + BLOCK
        self.crc64nvme = checksums.crc64nvme(header, self.crc64nvme)
        self.crc64nvme = checksums.combine(self.crc64nvme, crc64nvme, size)
        self.crc64nvme = checksums.crc64nvme(tail, self.crc64nvme)
        self.chunks.append(header)
        self.chunks.extend(pieces)
        if tail:
            self.chunks.append(tail)
        self.offset = begin + size + len(tail)
        return begin
