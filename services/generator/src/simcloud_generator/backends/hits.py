"""What rays hit first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]

NO_HIT_DISTANCE = np.float32(np.inf)


@dataclass(slots=True, eq=False)
class Hits:
    """First hits of rays: of a picture's H * W pixels row by row, or of some places in it."""

    distance_m: Float32Array
    """From the camera's origin; inf where nothing was hit."""
    group: Int32Array
    """Index into the frame's groups; -1 where nothing was hit."""
    part: Int32Array
    """Empty, like all that follow, where surfaces are not wanted."""
    primitive: Int32Array
    u: Float32Array
    v: Float32Array
    normal: Float32Array
    """(N, 3) geometric, in the group's frame, not normalised."""


def no_hits(count: int, *, surfaces: bool = True) -> Hits:
    """Rays that have hit nothing yet."""
    places = count if surfaces else 0
    return Hits(
        distance_m=np.full(count, NO_HIT_DISTANCE, dtype=np.float32),
        group=np.full(count, -1, dtype=np.int32),
        part=np.zeros(places, dtype=np.int32),
        primitive=np.zeros(places, dtype=np.int32),
        u=np.zeros(places, dtype=np.float32),
        v=np.zeros(places, dtype=np.float32),
        normal=np.zeros((places, 3), dtype=np.float32),
    )


def copy_hits(hits: Hits, found: Hits, where: npt.NDArray[np.int64]) -> None:
    """Puts what was found in the place of some rays' hits; their groups stay."""
    hits.distance_m[where] = found.distance_m
    hits.part[where] = found.part
    hits.primitive[where] = found.primitive
    hits.u[where] = found.u
    hits.v[where] = found.v
    hits.normal[where] = found.normal


def write_closer(
    hits: Hits,
    found: Hits,
    pixels: npt.NDArray[np.int64],
    closer: npt.NDArray[np.bool_],
    index: int,
) -> None:
    """Writes what is nearer.

    Args:
        hits: of many rays.
        found: of some of them, in one group.
        pixels: which these are.
        closer: for each of these, whether it is to be written.
        index: of the group.
    """
    where = pixels[closer]
    hits.group[where] = index
    hits.distance_m[where] = found.distance_m[closer]
    hits.part[where] = found.part[closer]
    hits.primitive[where] = found.primitive[closer]
    hits.u[where] = found.u[closer]
    hits.v[where] = found.v[closer]
    hits.normal[where] = found.normal[closer]


def merge_window(
    hits: Hits, found: Hits, picture: tuple[int, ...], window: tuple[slice, slice], index: int
) -> None:
    """Writes what is nearer within a window of a picture.

    Args:
        hits: of the whole picture.
        found: of the window, in one group.
        picture: its height and width.
        window: rows and columns.
        index: of the group.
    """

    def part_of(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return values.reshape(*picture, *values.shape[1:])[window]

    nearest = part_of(hits.distance_m)
    shape = nearest.shape
    closer = found.distance_m.reshape(shape) < nearest
    np.copyto(part_of(hits.group), index, where=closer)
    np.copyto(nearest, found.distance_m.reshape(shape), where=closer)
    if not len(hits.part):
        return
    for mine, other in (
        (hits.part, found.part),
        (hits.primitive, found.primitive),
        (hits.u, found.u),
        (hits.v, found.v),
        *((hits.normal[:, axis], found.normal[:, axis]) for axis in range(3)),
    ):
        np.copyto(part_of(mine), other.reshape(shape), where=closer)
