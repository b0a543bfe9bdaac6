"""A frame on its way: the encoded layers, and the record that describes them."""

from __future__ import annotations

from dataclasses import dataclass

FRAME_DIGITS = 9
"""Width of the frame index in member names, so that names sort as numbers do."""

MAX_CHUNK_BYTES = 1 << 20
"""A layer crosses a wire in chunks of at most this many bytes."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One annotator's encoded payload for one frame."""

    annotator: str
    extension: str
    media_type: str
    data: bytes
    crc64nvme: int
    """CRC-64/NVME of ``data``, computed where it was encoded."""


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """One capture by one camera, ready to be stored.

    A quarantined frame has no layers; its record says why.
    """

    frame: int
    camera: str
    record: bytes
    """The frame's json member, verbatim: RFC 8785 JSON of ``simcloud.dataset.record``."""
    layers: tuple[Layer, ...]

    @property
    def size_bytes(self) -> int:
        """Payload bytes, without tar headers and padding."""
        return len(self.record) + sum(len(layer.data) for layer in self.layers)


@dataclass(frozen=True, slots=True)
class FrameRef:
    """Enough to GET one layer of one frame, or to have the router read it."""

    bucket: str
    key: str
    etag: str
    offset: int
    """First byte of the layer in the object."""
    length: int
    media_type: str


def member_stem(frame: int, camera: str) -> str:
    """Common stem of a frame's members: ``<frame>.<camera>``, the frame padded to nine digits."""
    return f"{frame:0{FRAME_DIGITS}d}.{camera}"
