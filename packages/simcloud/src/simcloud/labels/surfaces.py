"""Label QA of single arrays: their form, normals, motion, points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from simcloud.annotators import ANNOTATORS, FIRST_CLASS_ID
from simcloud.geometry import project
from simcloud.labels.rules import NORMAL_TOLERANCE, PROJECTION_TOLERANCE_PX, Violation
from simcloud.spec.parameters import CameraView

Array = npt.NDArray[Any]

_CHANNELS = {"(H, W)": (), "(H, W, 3)": (3,), "(H, W, 4)": (4,)}


def check_form(camera: CameraView, arrays: Mapping[str, Array]) -> Iterator[Violation]:
    """Rules of dtype, shape and finite colours."""
    for name, array in arrays.items():
        row = ANNOTATORS.get(name)
        channels = _CHANNELS.get(row.shape) if row is not None else None
        if row is None or channels is None:
            continue
        if name == "rgb" and not np.isfinite(array).all():
            count = int((~np.isfinite(array)).any(axis=-1).sum())
            yield Violation("rgb_finite", "", "finite colours", f"{count} px are not", "exact")
        expected = (camera.height, camera.width, *channels)
        if array.shape != expected or str(array.dtype) != row.dtype:
            yield Violation(
                "array_form",
                "",
                f"{name} of {row.dtype} {expected}",
                f"{array.dtype} {array.shape}",
                "exact",
            )


def check_surfaces(
    directions: Array, distance: Array, arrays: Mapping[str, Array]
) -> Iterator[Violation]:
    """Rules of normals and motion vectors.

    Args:
        directions: of the pixels' rays, unit, world, (H, W, 3).
        distance: along them, (H, W); inf where nothing was hit.
        arrays: by annotator name.
    """
    normals = arrays.get("normals")
    if normals is not None:
        yield from _check_normals(directions, np.isfinite(distance), normals)
    motion = arrays.get("motion_vectors")
    if motion is not None:
        wrong = ~np.isfinite(motion).all(axis=-1) | (motion[..., 2:] != 0).any(axis=-1)
        if wrong.any():
            found = str(motion[wrong][0].tolist())
            yield Violation("motion_finite", "", "finite x and y, z and w 0", found, "exact")


def _check_normals(directions: Array, hit: Array, normals: Array) -> Iterator[Violation]:
    length = np.sqrt((normals * normals).sum(axis=-1))
    off = np.abs(length - hit)  # 1 where a surface was hit, else 0
    if not (off <= NORMAL_TOLERANCE).all():  # false for NaN too
        worst = float(length.flat[int(np.argmax(np.nan_to_num(off, nan=np.inf)))])
        expected = "length 1 on surfaces, 0 elsewhere"
        yield Violation("normals_unit", "", expected, f"length {worst}", str(NORMAL_TOLERANCE))
    away = (normals * directions).sum(axis=-1)
    if (away > NORMAL_TOLERANCE).any():
        count = int((away > NORMAL_TOLERANCE).sum())
        found = f"{count} px face away"
        yield Violation("normals_facing", "", "facing the camera", found, str(NORMAL_TOLERANCE))


def check_points(camera: CameraView, instance: Array, points: Array) -> Iterator[Violation]:
    """Rule of point clouds: a row for each labelled pixel, row by row, at its place."""
    rows, columns = np.nonzero(instance >= FIRST_CLASS_ID)
    if len(points) != len(rows):
        expected, found = f"{len(rows)} points", f"{len(points)}"
        yield Violation("points_project", "", expected, found, "exact")
        return
    pixels, depth = project(camera, points["points"])
    centres = np.stack([columns + 0.5, rows + 0.5], axis=1)
    off = np.where(depth > 0, np.abs(pixels - centres).max(axis=1, initial=0.0), np.inf)
    if not (off <= PROJECTION_TOLERANCE_PX).all():
        worst = float(np.nan_to_num(off, nan=np.inf).max())
        yield Violation("points_project", "", "each in its pixel", f"off by {worst:.2f} px", "1 px")
