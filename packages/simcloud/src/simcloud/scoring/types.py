"""What scoring speaks: detections, ground truth, and a frame with both.

Boxes are ``(x_min, y_min, x_max, y_max)`` in pixels, edges: origin at the picture's top left
corner, the maximum exclusive.
"""

from __future__ import annotations

from dataclasses import dataclass

from simcloud.spec.parameters import Scalar

Box = tuple[float, float, float, float]
FrameKey = tuple[int, str]
"""Frame index and camera's name."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One object that a model saw."""

    label: str
    class_id: int
    score: float
    """Confidence, 0 to 1."""
    box: Box


@dataclass(frozen=True, slots=True)
class Classification:
    """A class that a model gives a whole picture."""

    label: str
    class_id: int
    score: float
    """Probability, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the router answered to one frame."""

    frame: int
    camera: str
    code: int
    """gRPC status code as a number; 0 is OK."""
    reason: str
    message: str
    detections: tuple[Detection, ...]
    target: str
    attempts: int
    queue_s: float
    fetch_s: float
    target_s: float
    total_s: float

    @property
    def key(self) -> FrameKey:
        """Frame index and camera."""
        return (self.frame, self.camera)


@dataclass(frozen=True, slots=True)
class Truth:
    """One labelled object under the counting rule."""

    label: str
    """The model's name of the class."""
    box: Box
    """Extent of the visible pixels."""
    counted: bool
    """Whether missing it counts; if not, finding it counts neither way."""
    name: str
    """The object's name in the frame."""
    visible_px: int | None
    """None for imported labels without a mask."""
    occlusion: float | None


@dataclass(frozen=True, slots=True)
class ScoredFrame:
    """A stored frame with its ground truth and what the model saw."""

    frame: int
    camera: str
    split: str
    params: dict[str, Scalar]
    truths: tuple[Truth, ...]
    detections: tuple[Detection, ...]
    """Those of labels that count against the model, every score."""

    @property
    def key(self) -> FrameKey:
        """Frame index and camera."""
        return (self.frame, self.camera)
