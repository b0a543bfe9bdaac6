"""Frames on receipt: pieces to checked frames. Pure.

Everything a frame claims is checked before a byte of it enters the shard, so that bad input of one
stream ends that stream and nothing else: the durable prefix stays.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from simcloud.annotators import ANNOTATORS, ENCODINGS, EncodingInfo
from simcloud.dataset.frames import MAX_CHUNK_BYTES, member_stem
from simcloud.dataset.record import LayerRecord, RecordHead, record_head
from simcloud.dataset.tar import FramePieces, LayerPieces
from simcloud.errors import Corruption, InvalidRequest
from simcloud.s3.checksums import Buffer, crc64nvme
from simcloud.spec.model import Spec
from simcloud.spec.plan import Plan, ShardFrames

MAX_RECORD_BYTES = 4 << 20
"""Of a frame's json member (frame.proto)."""
_LAYER_FIELDS = tuple(item.name for item in fields(LayerRecord))


@dataclass(frozen=True, slots=True)
class LayerClaim:
    """A layer as its header announces it."""

    annotator: str
    extension: str
    media_type: str
    size_bytes: int
    crc64nvme: int


@dataclass(frozen=True, slots=True)
class FrameStart:
    """The header of a frame and camera."""

    frame: int
    camera: str
    record: bytes
    layers: tuple[LayerClaim, ...]


@dataclass(frozen=True, slots=True)
class LayerPiece:
    """Bytes of the frame begun last."""

    layer: int
    data: Buffer


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedFrames:
    """What the frames of one stream must agree with."""

    spec: Spec
    spec_digest: str
    plan: Plan
    frames: ShardFrames
    fingerprint: str
    max_frame_bytes: int

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras of a frame, in order."""
        return tuple(camera.name for camera in self.spec.cameras)

    def layers(self) -> tuple[tuple[str, EncodingInfo], ...]:
        """Annotators that have a layer, in order, with the encoding's file facts."""
        return tuple(
            (name, ENCODINGS[self.spec.encodings[name]])
            for name in self.spec.annotators
            if ANNOTATORS[name].is_layer
        )


class FrameReceiver:
    """Puts the pieces of one stream together, in order, checking each.

    Holds one camera's frame at most. Every error leaves it unusable.
    """

    def __init__(self, expected: ExpectedFrames, *, resume_frame: int) -> None:
        self._expected = expected
        self._cameras = expected.cameras
        self._layers = expected.layers()
        self._frame = resume_frame
        self._camera = 0
        self._frame_bytes = 0
        self._start: FrameStart | None = None
        self._pieces: list[Buffer] = []
        self._layer_bytes = 0
        self._layer_crc = 0
        self._done: list[LayerPieces] = []

    @property
    def next_frame(self) -> int:
        """Index of the frame that is expected, or being received."""
        return self._frame

    @property
    def between_frames(self) -> bool:
        """Whether all cameras of the frames so far have come whole."""
        return self._start is None and self._camera == 0

    def begins(self, start: FrameStart, frame: int) -> bool:
        """Whether a header begins a frame: its first camera."""
        return start.frame == frame and start.camera == self._cameras[0]

    def start(self, start: FrameStart) -> FramePieces | None:
        """Begins a frame and camera; returns it at once when it has no layers.

        Raises:
            InvalidRequest: order, size or content is wrong.
        """
        if self._start is not None:
            raise InvalidRequest(
                "frame", f"{self._name()} is not complete: {len(self._done)} layers have come"
            )
        self._check_order(start)
        self._count(len(start.record))
        self._count(sum(layer.size_bytes for layer in start.layers))
        self._check_record(start)
        self._start = start
        self._begin_layer()
        return self._finished() if not start.layers else None

    def piece(self, piece: LayerPiece) -> FramePieces | None:
        """Continues the frame; returns it when its last layer is whole.

        Raises:
            InvalidRequest: order or length is wrong.
            Corruption: a layer's bytes are not what its checksum says.
        """
        if self._start is None:
            raise InvalidRequest("chunk", "came before a frame's header")
        index = len(self._done)
        if piece.layer != index:
            raise InvalidRequest("chunk.layer", f"expected {index}, found {piece.layer}")
        if not 1 <= len(piece.data) <= MAX_CHUNK_BYTES:
            raise InvalidRequest(
                "chunk.data", f"is 1 to {MAX_CHUNK_BYTES} bytes, found {len(piece.data)}"
            )
        claim = self._start.layers[index]
        self._layer_bytes += len(piece.data)
        if self._layer_bytes > claim.size_bytes:
            raise InvalidRequest(
                "chunk.data",
                f"{self._name(claim.annotator)} has more than {claim.size_bytes} bytes",
            )
        self._layer_crc = crc64nvme(piece.data, self._layer_crc)
        self._pieces.append(piece.data)
        if self._layer_bytes < claim.size_bytes:
            return None
        self._end_layer(claim)
        return self._finished() if len(self._done) == len(self._start.layers) else None

    def check_whole(self, frame_count: int) -> None:
        """Checks a commit.

        Raises:
            InvalidRequest: frames are missing, or the client counts otherwise.
        """
        frames = self._expected.frames
        if not self.between_frames or self._frame != frames.end:
            raise InvalidRequest(
                "commit",
                f"came before all frames: {self._name()} of [{frames.first}, {frames.end})",
            )
        whole = len(frames) * len(self._cameras)
        if frame_count != whole:
            raise InvalidRequest("commit.frame_count", f"expected {whole}, found {frame_count}")

    def _check_order(self, start: FrameStart) -> None:
        if self._frame >= self._expected.frames.end:
            raise InvalidRequest(
                "frame.frame", f"{start.frame} is beyond the shard's end {self._frame}"
            )
        if start.frame != self._frame:
            raise InvalidRequest("frame.frame", f"expected {self._frame}, found {start.frame}")
        camera = self._cameras[self._camera]
        if start.camera != camera:
            raise InvalidRequest(
                "frame.camera",
                f"expected {camera!r} for frame {start.frame}, found {start.camera!r}",
            )
        if not 1 <= len(start.record) <= MAX_RECORD_BYTES:
            raise InvalidRequest(
                "frame.record", f"is 1 to {MAX_RECORD_BYTES} bytes, found {len(start.record)}"
            )

    def _count(self, payload_bytes: int) -> None:
        self._frame_bytes += payload_bytes
        limit = self._expected.max_frame_bytes
        if self._frame_bytes > limit:
            raise InvalidRequest(
                "frame",
                f"frame {self._frame} has {self._frame_bytes} bytes or more, but the stream was "
                f"opened with max_frame_bytes {limit}",
            )

    def _check_record(self, start: FrameStart) -> None:
        try:
            record = record_head(start.record)
        except Corruption as error:
            raise InvalidRequest("frame.record", error.message) from error
        expected = self._expected
        for name, wanted, found in (
            ("frame", start.frame, record.frame),
            ("camera", start.camera, record.camera),
            ("split", expected.plan.split_of(start.frame), record.split),
            ("spec_digest", expected.spec_digest, record.spec_digest),
            ("fingerprint", expected.fingerprint, record.fingerprint),
        ):
            if wanted != found:
                raise InvalidRequest(
                    f"frame.record.{name}", f"{self._name()}: expected {wanted!r}, found {found!r}"
                )
        if record.quarantined and (start.layers or record.layers):
            raise InvalidRequest("frame.layers", f"{self._name()} is quarantined: it has no layers")
        if not record.quarantined:
            self._check_layers(start, record)

    def _check_layers(self, start: FrameStart, record: RecordHead) -> None:
        wanted = [(name, info.extension, info.media_type) for name, info in self._layers]
        found = [(item.annotator, item.extension, item.media_type) for item in start.layers]
        if wanted != found:
            raise InvalidRequest(
                "frame.layers", f"{self._name()}: the spec asks for {wanted}, found {found}"
            )
        stem = member_stem(start.frame, start.camera)
        claimed = [
            (
                item.annotator,
                f"{stem}.{item.annotator}.{item.extension}",
                item.media_type,
                item.size_bytes,
                f"{item.crc64nvme:016x}",
            )
            for item in start.layers
        ]
        recorded = [tuple(item[name] for name in _LAYER_FIELDS) for item in record.layers]
        if claimed != recorded:
            raise InvalidRequest(
                "frame.record.layers",
                f"{self._name()}: the header says {claimed}, the record {recorded}",
            )
        if any(item.size_bytes < 1 for item in start.layers):
            raise InvalidRequest("frame.layers", f"{self._name()}: a layer has 1 byte or more")

    def _begin_layer(self) -> None:
        self._pieces = []
        self._layer_bytes = 0
        self._layer_crc = 0

    def _end_layer(self, claim: LayerClaim) -> None:
        if self._layer_crc != claim.crc64nvme:
            raise Corruption(
                f"{self._name(claim.annotator)}: CRC-64/NVME is {self._layer_crc:016x}, "
                f"its header says {claim.crc64nvme:016x}; encode and send it again",
                frame=self._frame,
                annotator=claim.annotator,
            )
        self._done.append(
            LayerPieces(
                annotator=claim.annotator,
                extension=claim.extension,
                media_type=claim.media_type,
                pieces=tuple(self._pieces),
                size_bytes=claim.size_bytes,
                crc64nvme=self._layer_crc,
            )
        )
        self._begin_layer()

    def _finished(self) -> FramePieces:
        assert self._start is not None
        frame = FramePieces(
            frame=self._start.frame,
            camera=self._start.camera,
            record=self._start.record,
            layers=tuple(self._done),
        )
        self._start = None
        self._done = []
        self._camera += 1
        if self._camera == len(self._cameras):
            self._camera = 0
            self._frame += 1
            self._frame_bytes = 0
        return frame

    def _name(self, annotator: str = "") -> str:
        stem = f"frame {self._frame} of camera {self._cameras[self._camera]!r}"
        return f"{stem}, {annotator}" if annotator else stem
