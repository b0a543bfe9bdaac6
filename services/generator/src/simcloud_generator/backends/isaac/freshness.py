"""Whether captured data are of the frame that was asked for. Pure.

``step()`` returns without capturing when the orchestrator is stopping or found no frame to
schedule, and says so in a log alone; ``get_data`` then gives the frame before. Labels of one frame
with the picture of another are the worst thing that a generator can make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simcloud.geometry import Float64
from simcloud_generator.backends.isaac.rows import RawBox3D, RawCamera

TOLERANCE = 1e-4
"""Of matrix entries, relative to the largest and at least absolute: Replicator's are float32."""


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """What a capture must show."""

    focus_distance: float
    """Stage units; differs from one capture to the next."""
    cam2world: Float64
    """(4, 4), stage frame."""
    size: tuple[int, int]
    """Width and height, pixels."""
    objects: Mapping[str, Float64]
    """Local to world by prim path, stage frame."""


def stale_reason(expected: Expected, camera: RawCamera, boxes: Sequence[RawBox3D]) -> str:
    """Why data are not those of the frame; empty when they are."""
    if (camera.width, camera.height) != expected.size:
        return f"the picture has {camera.width}x{camera.height} px, asked for {expected.size}"
    if np.float32(camera.focus_distance) != np.float32(expected.focus_distance):
        return (
            f"the camera's focus distance is {camera.focus_distance!r}, that of this capture is "
            f"{expected.focus_distance!r}"
        )
    offset = camera.world2cam @ expected.cam2world - np.eye(4)
    if np.abs(offset).max() > TOLERANCE * _reach(camera.world2cam):
        return f"the camera stands elsewhere: off by {np.abs(offset).max():.2e}"
    for box in boxes:
        wanted = expected.objects.get(box.prim)
        if wanted is None:
            continue
        error = float(np.abs(box.local2world - wanted).max())
        if error > TOLERANCE * _reach(wanted):
            return f"{box.prim} stands elsewhere: off by {error:.2e}"
    return ""


def _reach(matrix: Float64) -> float:
    return max(1.0, float(np.abs(matrix).max()))
