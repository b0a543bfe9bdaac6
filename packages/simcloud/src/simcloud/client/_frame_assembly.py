"""Frames put together from the pieces in which they travel."""

from __future__ import annotations

from dataclasses import dataclass, field

from simcloud.dataset.frames import EncodedFrame, Layer
from simcloud.errors import Corruption
from simcloud.v1 import frame_pb2


@dataclass(slots=True)
class FrameAssembly:
    """Pieces of frames to frames; the two fields are its only state."""

    _header: frame_pb2.FrameHeader | None = None
    _layers: list[bytearray] = field(default_factory=list)

    def take(self, piece: frame_pb2.FramePiece) -> EncodedFrame | None:
        """The frame that this piece completes, if it does.

        Raises:
            Corruption: it is not of the frame that was begun, or that is not finished yet.
        """
        if piece.HasField("header"):
            self.close()
            self._header = piece.header
            self._layers = [bytearray() for _ in piece.header.layers]
        else:
            if self._header is None or piece.chunk.layer >= len(self._layers):
                raise Corruption("a layer's chunk came before its frame's header")
            self._layers[piece.chunk.layer] += piece.chunk.data
        return self._completed()

    def close(self) -> None:
        """Returns when no frame is begun and unfinished.

        Raises:
            Corruption: one is.
        """
        if self._header is not None:
            raise Corruption(
                f"frame {self._header.frame} of camera {self._header.camera} ended early"
            )

    def _completed(self) -> EncodedFrame | None:
        header = self._header
        assert header is not None
        layers = list(zip(header.layers, self._layers, strict=True))
        if any(len(data) < info.size_bytes for info, data in layers):
            return None
        self._header = None
        return EncodedFrame(
            frame=header.frame,
            camera=header.camera,
            record=header.record,
            layers=tuple(
                Layer(
                    annotator=info.annotator,
                    extension=info.extension,
                    media_type=info.media_type,
                    data=bytes(data),
                    crc64nvme=info.crc64nvme,
                )
                for info, data in layers
            ),
        )
