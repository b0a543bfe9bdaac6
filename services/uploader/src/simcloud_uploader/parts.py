"""Tar bytes to parts of a multipart upload. Pure.

Every part ends where a frame ends (all its cameras), so every stored part is a resume point. A part
is therefore at least ``part_size_bytes`` and less than that plus the largest frame: just what the
byte budget reserves for a stream, so a part can always be filled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from simcloud.errors import InvalidRequest
from simcloud.s3.body import Pieces
from simcloud.s3.checksums import Buffer, combine, crc64nvme

MEMBER_OVERHEAD_BYTES = 1024
"""Most bytes a tar adds to a member: a header of 512 and up to 511 of padding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartLimits:
    """What S3 allows (docs.aws.amazon.com, "Amazon S3 multipart upload limits")."""

    min_part_bytes: int
    max_part_bytes: int
    max_parts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Bytes on their way to S3."""

    number: int
    """From 1, without gaps."""
    data: Pieces
    """The very messages the frames came in, with the tar's headers between them: not a copy."""
    crc64nvme: int
    """Combined of the layers' own: S3 compares it with what arrives, so that bytes which changed in
    memory after their layer was checked are refused."""
    payload_bytes: int
    """Records and layers in it, without tar headers and padding: what its credit counted."""
    end_frame: int
    """Every frame before it is in this part or in one before."""
    final: bool
    """Whether it closes the tar; the final part alone may be smaller than S3's minimum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPart:
    """A part that S3 has."""

    number: int
    size_bytes: int
    etag: str
    crc64nvme: int
    end_frame: int


def choose_part_size(
    *, wanted_bytes: int, frames: int, max_frame_bytes: int, members: int, limits: PartLimits
) -> int:
    """Part size of a new upload, in bytes.

    Args:
        wanted_bytes: size from the settings.
        frames: frames of the shard.
        max_frame_bytes: largest payload of one frame, all cameras.
        members: tar members of one frame, all cameras.
        limits: S3's.

    Raises:
        InvalidRequest: no part size fits the limits.
    """
    frame_bytes = max_frame_bytes + members * MEMBER_OVERHEAD_BYTES
    size = max(wanted_bytes, limits.min_part_bytes)
    # A part holds at least one whole frame, so only a shard of more frames than parts can overrun.
    # The last one may hold nothing but the tar's end.
    if frames >= limits.max_parts:
        size = max(size, -(-frames * frame_bytes // max(limits.max_parts - 1, 1)))
    if size + frame_bytes > limits.max_part_bytes:
        raise InvalidRequest(
            "open.max_frame_bytes",
            f"a part of {size} bytes and a frame of {frame_bytes} don't fit into S3's largest "
            f"part, {limits.max_part_bytes}: make frames or shards smaller",
        )
    return size


class PartCutter:
    """Collects a tar stream and cuts it into parts at frame ends.

    Holds at most ``part_size_bytes`` and one frame; the caller bounds the frame.
    """

    def __init__(self, *, part_size_bytes: int, first_number: int) -> None:
        self._part_size = part_size_bytes
        self._number = first_number
        self._chunks: list[Buffer] = []
        self._size = 0
        self._crc = 0
        self._payload = 0
        # Where the last whole frame ends in what is collected.
        self._whole_chunks = 0
        self._whole_size = 0
        self._whole_crc = 0
        self._whole_payload = 0
        self._end_frame = 0

    @property
    def next_number(self) -> int:
        """Number of the part that is being filled."""
        return self._number

    def add(self, chunks: Iterable[Buffer], *, crc64nvme: int, payload_bytes: int) -> None:
        """Adds the tar bytes of one camera's members.

        Args:
            chunks: the bytes, kept as they are until their part is sent.
            crc64nvme: CRC of all of them.
            payload_bytes: records and layers among them.
        """
        size = 0
        for chunk in chunks:
            self._chunks.append(chunk)
            size += len(chunk)
        self._size += size
        self._crc = combine(self._crc, crc64nvme, size)
        self._payload += payload_bytes

    def end_frame(self, end_frame: int) -> Part | None:
        """All cameras of a frame are added; returns a part when there is enough for one.

        Args:
            end_frame: index of the frame after it.
        """
        self._whole_chunks = len(self._chunks)
        self._whole_size = self._size
        self._whole_crc = self._crc
        self._whole_payload = self._payload
        self._end_frame = end_frame
        return self._cut(final=False) if self._size >= self._part_size else None

    def flush(self, min_part_bytes: int) -> Part | None:
        """The whole frames collected so far as a part, if S3 would take it; the rest is dropped.

        For a stream that ends early: nothing may be added afterwards.
        """
        if self._whole_size < max(min_part_bytes, 1):
            return None
        return self._cut(final=False)

    def finish(self, trailer: bytes, *, end_frame: int) -> Part:
        """The last part, with the tar's end."""
        self.add([trailer], crc64nvme=crc64nvme(trailer), payload_bytes=0)
        self._whole_chunks = len(self._chunks)
        self._whole_size = self._size
        self._whole_crc = self._crc
        self._whole_payload = self._payload
        self._end_frame = end_frame
        return self._cut(final=True)

    def _cut(self, *, final: bool) -> Part:
        part = Part(
            number=self._number,
            data=Pieces(self._chunks[: self._whole_chunks]),
            crc64nvme=self._whole_crc,
            payload_bytes=self._whole_payload,
            end_frame=self._end_frame,
            final=final,
        )
        # What is left over is of a frame that was begun before a flush, after which nothing comes.
        self._chunks.clear()
        self._size = self._crc = self._payload = 0
        self._whole_chunks = self._whole_size = self._whole_crc = self._whole_payload = 0
        self._number += 1
        return part
