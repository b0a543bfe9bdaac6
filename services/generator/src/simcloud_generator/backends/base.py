"""The one interface of renderers: open a stage, render frames, close."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from simcloud.labels.objects import ObjectLabel
from simcloud.spec.parameters import CameraView, FrameParameters

Array = npt.NDArray[Any]

POINT_DTYPE = np.dtype(
    [
        ("points", np.float32, (3,)),
        ("rgb", np.uint8, (3,)),
        ("normals", np.float32, (3,)),
        ("semantic", np.uint16),
        ("instance", np.uint16),
    ]
)
"""One row of the ``pointcloud`` array; encoders write each field as an array of its own."""

LABEL_ARRAYS = (
    "distance_to_camera",
    "distance_to_image_plane",
    "semantic_segmentation",
    "instance_segmentation",
)
"""Arrays that every view has, asked for or not: label QA needs them."""


@dataclass(frozen=True, slots=True, eq=False)
class RenderedView:
    """What one camera of a frame saw."""

    camera: CameraView
    arrays: dict[str, Array]
    """By annotator name, as the annotator table says: :data:`LABEL_ARRAYS` always, ``rgb``,
    ``normals``, ``motion_vectors`` and ``pointcloud`` (rows of :data:`POINT_DTYPE`) where asked
    for; a point cloud brings ``normals`` with it."""
    objects: tuple[ObjectLabel, ...]
    """Every labelled object of the frame, in the picture or not, by instance id."""
    timings: dict[str, float]
    """Wall-clock seconds by stage. Stages that all cameras share count for the first."""


class Session(Protocol):
    """One opened stage. Not thread-safe: one thread renders."""

    @property
    def id_to_label(self) -> Mapping[int, str]:
        """Class by ``semantic_segmentation`` id; ids are the same for every frame of the stage."""
        ...

    @property
    def unsupported(self) -> Sequence[str]:
        """What in the stage was not understood, each as ``<prim path>: <what>``."""
        ...

    def render(self, parameters: FrameParameters, annotators: Sequence[str]) -> list[RenderedView]:
        """Renders one frame, a view for each of its cameras.

        Args:
            parameters: what the frame consists of.
            annotators: names from the annotator table.

        Raises:
            InvalidRequest: the parameters name something that the scene does not have.
        """
        ...

    def close(self) -> None:
        """Frees what the session holds; calling it twice is harmless."""
        ...


class Backend(Protocol):
    """A renderer."""

    @property
    def name(self) -> str:
        """``mitsuba`` or ``isaac``."""
        ...

    @property
    def variant(self) -> str:
        """Which of the renderer's variants draws; part of the spec."""
        ...

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of everything that pixels may depend on, for the render fingerprint."""
        ...

    def open(self, stage_path: Path) -> Session:
        """Opens a stage.

        Raises:
            InvalidRequest: the stage cannot be read.
        """
        ...
