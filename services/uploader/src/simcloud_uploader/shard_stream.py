"""States of one UploadShard stream. Pure: what came in, and what is to be done about it.

The shell (``session``) reads messages, stores parts and writes epochs; everything it has to know in
between is here. A part goes ``cut`` → ``stored`` (S3 has it) → ``written`` (the epoch lists it, the
client may forget it). Parts are stored in any order and written in theirs, without gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from simcloud.dataset.tar import END_OF_ARCHIVE, FramePieces, StoredFrame, pack_pieces
from simcloud.errors import Bug, InvalidRequest
from simcloud.s3 import checksums
from simcloud_uploader.parts import Part, PartCutter, StoredPart
from simcloud_uploader.receive import ExpectedFrames, FrameReceiver, FrameStart, LayerPiece


class Phase(StrEnum):
    """Where the stream is."""

    RECEIVING = "receiving"
    DISCARDING = "discarding"
    """After a restart: what the client had on its way is dropped until the new beginning."""
    CLOSED = "closed"
    """The client committed; the final part is cut."""


class PartLedger:
    """Which parts of one upload are cut, stored and written."""

    def __init__(self, *, first_frame: int, written: Sequence[StoredPart] = ()) -> None:
        self._first_frame = first_frame
        self._parts: list[StoredPart | None] = list(written)
        self._written = len(written)
        self._final = 0

    def cut(self, part: Part) -> None:
        """A part is on its way to S3."""
        if part.number != len(self._parts) + 1 or self._final:
            raise Bug(f"part {part.number} was cut after {len(self._parts)}")
        self._parts.append(None)
        if part.final:
            self._final = part.number

    def stored(self, part: StoredPart) -> None:
        """S3 has it."""
        if not 1 <= part.number <= len(self._parts) or self._parts[part.number - 1] is not None:
            raise Bug(f"part {part.number} was stored twice or never cut")
        self._parts[part.number - 1] = part

    def writable(self) -> tuple[StoredPart, ...]:
        """Parts that an epoch may list: stored, from 1 without gaps, the final one left out.

        Until Complete the final part is none that another could go on after.
        """
        prefix: list[StoredPart] = []
        for part in self._parts:
            if part is None or part.number == self._final:
                break
            prefix.append(part)
        return tuple(prefix)

    @property
    def unwritten(self) -> bool:
        """Whether the epoch should be written again."""
        return len(self.writable()) > self._written

    def written(self, count: int) -> int:
        """The epoch lists the first ``count`` parts; returns ``durable_before``."""
        if count < self._written:
            raise Bug(f"the epoch lists {count} parts after {self._written}")
        self._written = count
        return self.durable_before

    @property
    def durable_before(self) -> int:
        """Every frame before it is in parts that the epoch lists."""
        part = self._parts[self._written - 1] if self._written else None
        return part.end_frame if part is not None else self._first_frame

    @property
    def complete(self) -> tuple[StoredPart, ...] | None:
        """Every part, once the final one and all others are stored."""
        if not self._final:
            return None
        parts = tuple(part for part in self._parts if part is not None)
        return parts if len(parts) == len(self._parts) else None


class ShardStream:
    """One stream from its open to its commit, restarts included."""

    def __init__(
        self,
        expected: ExpectedFrames,
        *,
        part_size_bytes: int,
        written: Sequence[StoredPart],
        max_row_bytes: int,
    ) -> None:
        """Begins, or goes on after parts that are written.

        Args:
            expected: what the frames must agree with.
            part_size_bytes: of this upload.
            written: parts that the epoch lists.
            max_row_bytes: most bytes of records kept for the index; beyond, it is made from the
                tar.
        """
        self._expected = expected
        self._part_size = part_size_bytes
        self._max_row_bytes = max_row_bytes
        self.restarts = 0
        self.phase = Phase.RECEIVING
        self._begin(written)

    def _begin(self, written: Sequence[StoredPart]) -> None:
        frames = self._expected.frames
        self.ledger = PartLedger(first_frame=frames.first, written=written)
        self.resume_frame = self.ledger.durable_before
        self._offset = sum(part.size_bytes for part in written)
        self._packed_crc = 0
        for part in written:
            self._packed_crc = checksums.combine(self._packed_crc, part.crc64nvme, part.size_bytes)
        self._receiver = FrameReceiver(self._expected, resume_frame=self.resume_frame)
        self._cutter = PartCutter(part_size_bytes=self._part_size, first_number=len(written) + 1)
        self._rows: list[StoredFrame] | None = None if written else []
        self._row_bytes = 0

    @property
    def rows(self) -> list[StoredFrame] | None:
        """Every frame as it stands in the tar; None when that must be read from the tar."""
        return self._rows

    @property
    def crc64nvme(self) -> int:
        """CRC of the tar so far, from the layers' own checksums."""
        return self._packed_crc

    @property
    def size_bytes(self) -> int:
        """Size of the tar so far."""
        return self._offset

    @property
    def parts_cut(self) -> int:
        """Parts of this upload that were cut so far."""
        return self._cutter.next_number - 1

    def drops(self, message: FrameStart | LayerPiece) -> bool:
        """Whether a message was on its way when the shard began again.

        The client begins again with the header of the first frame and camera. It can't have been on
        its way: it had been received before anything of the lost upload could fail.
        """
        if self.phase is not Phase.DISCARDING:
            return False
        if isinstance(message, FrameStart) and self._receiver.begins(message, self.resume_frame):
            self.phase = Phase.RECEIVING
            return False
        return True

    def start(self, start: FrameStart) -> Part | None:
        """A frame's header came; returns a part when it completes one.

        Raises:
            InvalidRequest: order, size or content is wrong.
        """
        self._check_open("frame")
        return self._take(self._receiver.start(start))

    def piece(self, piece: LayerPiece) -> Part | None:
        """Bytes of a layer came; returns a part when they complete one.

        Raises:
            InvalidRequest: order or length is wrong.
            Corruption: a layer's checksum is wrong.
        """
        self._check_open("chunk")
        return self._take(self._receiver.piece(piece))

    def commit(self, frame_count: int) -> Part | None:
        """The client has sent everything; returns the final part, None for a commit to drop.

        Raises:
            InvalidRequest: frames are missing, or the client counts otherwise.
        """
        self._check_open("commit")
        if self.phase is Phase.DISCARDING:
            return None
        self._receiver.check_whole(frame_count)
        self._packed_crc = checksums.crc64nvme(END_OF_ARCHIVE, self._packed_crc)
        self._offset += len(END_OF_ARCHIVE)
        part = self._cutter.finish(END_OF_ARCHIVE, end_frame=self._expected.frames.end)
        self.ledger.cut(part)
        self.phase = Phase.CLOSED
        return part

    def flush(self, min_part_bytes: int) -> Part | None:
        """The stream ends early: whole frames not in a part yet, if S3 would take them as one."""
        if self.phase is not Phase.RECEIVING:
            return None
        part = self._cutter.flush(min_part_bytes)
        if part is not None:
            self.ledger.cut(part)
        return part

    def restart(self) -> None:
        """The upload is lost: all begins again in a new one."""
        self.restarts += 1
        self.phase = Phase.DISCARDING
        self._begin(())

    def _check_open(self, field: str) -> None:
        if self.phase is Phase.CLOSED:
            raise InvalidRequest(field, "came after commit")

    def _take(self, frame: FramePieces | None) -> Part | None:
        if frame is None:
            return None
        packed = pack_pieces(frame, offset=self._offset)
        self._offset += packed.size_bytes
        self._packed_crc = checksums.combine(self._packed_crc, packed.crc64nvme, packed.size_bytes)
        self._cutter.add(packed.chunks, crc64nvme=packed.crc64nvme, payload_bytes=frame.size_bytes)
        self._keep_row(packed.stored)
        if not self._receiver.between_frames:
            return None
        part = self._cutter.end_frame(self._receiver.next_frame)
        if part is not None:
            self.ledger.cut(part)
        return part

    def _keep_row(self, stored: StoredFrame) -> None:
        self._row_bytes += len(stored.record)
        if self._rows is not None and self._row_bytes <= self._max_row_bytes:
            self._rows.append(stored)
        else:
            self._rows = None
