"""What is read of a run, and how it comes out: a source, and a sample of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from simcloud.annotators import ANNOTATORS
from simcloud.dataset.encode import decode
from simcloud.dataset.fetch import ReadAhead
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.record import FrameRecord, record_from_json
from simcloud.dataset.selection import Filter
from simcloud.errors import InvalidRequest
from simcloud.s3.client import S3Settings
from simcloud.spec.model import Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Which frames of which run, and where it is."""

    location: RunLocation
    """The run."""
    s3: S3Settings = field(default_factory=S3Settings)
    """Where S3 is and who we are there."""
    generation: int | None = None
    """Of the plan; None: the highest that is published when it is first read."""
    filter: Filter = field(default_factory=Filter)
    """Which frames."""
    annotators: tuple[str, ...] = ()
    """Layers to read; empty: all."""
    ahead: ReadAhead = field(default_factory=ReadAhead)
    """How much is read before it is asked for."""

    def __post_init__(self) -> None:
        """Refuses what no run could have, before anything is read.

        Raises:
            InvalidRequest: an annotator that there is not.
        """
        for name in self.annotators:
            if name not in ANNOTATORS or not ANNOTATORS[name].is_layer:
                raise InvalidRequest("annotators", f"{name!r} is no layer of a frame")


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame of one camera, decoded."""

    frame: int
    camera: str
    record: FrameRecord
    """Parameters, labels, camera."""
    arrays: dict[str, Any]
    """NumPy array by annotator, dtype and shape as the annotator table says."""


def to_sample(frame: EncodedFrame, spec: Spec) -> Sample:
    """Decodes a frame's layers."""
    return Sample(
        frame=frame.frame,
        camera=frame.camera,
        record=record_from_json(frame.record),
        arrays={
            layer.annotator: decode(layer.data, spec.encodings[layer.annotator])
            for layer in frame.layers
        },
    )
