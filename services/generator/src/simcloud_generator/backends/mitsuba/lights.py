"""A frame's lights as tables: triangles and directions to choose from, and the environment.

An environment is chosen from by a list of its cells in which each stands as often as it is worth:
one load finds a cell, and its density is known exactly.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from simcloud.scene.translate.types import DistantLight
from simcloud_generator.backends.images import ImageStore
from simcloud_generator.backends.mitsuba.tables import FrameTables

Float32Array = npt.NDArray[np.float32]
UInt32Array = npt.NDArray[np.uint32]

ENVIRONMENT_SHARE = 0.5
"""How often a path looks for light in the environment where there are other lights too."""

CELLS = (256, 512)
"""Rows and columns of an environment that are told apart when one is chosen: halving them costs a
tenth more noise, and so does blurring them."""

CHOICES = 16 * CELLS[0] * CELLS[1]
FLOOR = 1
"""Choices that each cell has at least, so that none is missed."""

KEPT_ENVIRONMENTS = 8
"""Tables of 11 MB."""

_WEIGHTS = np.array([0.2126, 0.7152, 0.0722])
_DISTANT_AREA_M2 = 10.0
"""What a light from infinitely far away counts as, beside lamps of a room's size."""


@dataclass(frozen=True, slots=True, eq=False)
class EnvironmentTable:
    """An environment, before a frame's intensity and rotation."""

    texels: Float32Array
    """(H * W, 4): radiance, and nothing."""
    density: Float32Array
    """By cell, of a choice per unit of the image's area."""
    choices: npt.NDArray[np.uint32]
    """(``CHOICES``,) cells, each as often as it is worth."""
    width: int
    height: int


class Environments:
    """Tables of environments by their path, least recently used out first."""

    def __init__(self, images: ImageStore) -> None:
        self._images = images
        self._tables: OrderedDict[str | None, EnvironmentTable] = OrderedDict()

    def get(self, path: str | None) -> EnvironmentTable:
        """The table of an image, or of a constant 1 for None."""
        found = self._tables.get(path)
        if found is None:
            image = (
                self._images.environment(path)
                if path is not None
                else np.ones((*CELLS, 3), dtype=np.float32)
            )
            found = self._tables[path] = environment_table(image)
            if len(self._tables) > KEPT_ENVIRONMENTS:
                self._tables.popitem(last=False)
        self._tables.move_to_end(path)
        return found


def environment_table(image: Float32Array) -> EnvironmentTable:
    """A latitude-longitude image (H, W, 3) as a table."""
    height, width = image.shape[:2]
    rows, columns = CELLS
    sines = np.sin((np.arange(rows) + 0.5) / rows * np.pi)[:, None]
    value = cv2.resize(image @ _WEIGHTS, (columns, rows), interpolation=cv2.INTER_AREA) * sines
    value = value.ravel() + 1e-30
    count = value.size
    fixed = FLOOR
    # cumulative rounding: the counts add up to exactly what is left
    edges = np.rint(np.cumsum(value) / value.sum() * (CHOICES - fixed * count)).astype(np.int64)
    counts = np.diff(edges, prepend=0) + fixed
    order = _neighbourly(rows, columns)
    texels = np.zeros((height * width, 4), dtype=np.float32)
    texels[:, :3] = image.reshape(-1, 3)
    return EnvironmentTable(
        texels=texels,
        density=(counts * (count / CHOICES)).astype(np.float32),
        choices=np.repeat(order, counts[order]),
        width=width,
        height=height,
    )


def _neighbourly(rows: int, columns: int) -> UInt32Array:
    """Cells in Morton's order: evenly spread choices are then evenly spread over the image."""
    cells = np.arange(rows * columns)
    row, column = cells // columns, cells % columns
    code = np.zeros_like(cells)
    for bit in range(16):
        code |= (column >> bit & 1) << (2 * bit) | (row >> bit & 1) << (2 * bit + 1)
    return np.argsort(code, kind="stable").astype(np.uint32)


@dataclass(frozen=True, slots=True, eq=False)
class LightTable:
    """Triangles that shine and lights from far away; at least one row."""

    rows: Float32Array
    """(N, 12): corner, red; edge, green; edge, blue. Far away: direction, 0 edges."""
    alias: UInt32Array
    """(N, 4): threshold as a float's bits, the other row, the row's probability, nothing."""
    share: float
    """How often one of these is chosen rather than the environment."""


def light_table(
    tables: FrameTables, distant: Sequence[DistantLight], *, environment: bool
) -> LightTable:
    """The lights of a frame; writes the emission's density into its materials.

    Args:
        tables: the frame, lights included.
        distant: lights from infinitely far away.
        environment: whether there is one beside these lights.
    """
    materials = tables.materials.view(np.float32)
    shining = materials[:, 8:11].max(axis=1) > 0
    faces = tables.faces[shining[tables.faces[:, 3]]]
    corners = [tables.positions[faces[:, corner]].astype(np.float64) for corner in range(3)]
    edges = [corners[1] - corners[0], corners[2] - corners[0]]
    areas = 0.5 * np.sqrt((np.cross(edges[0], edges[1]) ** 2).sum(axis=1))
    radiance = materials[faces[:, 3], 8:11]
    rows = np.zeros((len(faces) + len(distant) + 1, 12), dtype=np.float32)
    rows[: len(faces), 0:3], rows[: len(faces), 3] = corners[0], radiance[:, 0]
    rows[: len(faces), 4:7], rows[: len(faces), 7] = edges[0], radiance[:, 1]
    rows[: len(faces), 8:11], rows[: len(faces), 11] = edges[1], radiance[:, 2]
    for index, light in enumerate(distant, start=len(faces)):
        rows[index, 0:3] = light.direction
        rows[index, 3::4] = light.irradiance
    worth = rows[:, 3::4] @ _WEIGHTS
    worth[: len(faces)] *= areas
    worth[len(faces) :] *= _DISTANT_AREA_M2
    total = float(worth.sum())
    share = 0.0 if total <= 0 else (1.0 - ENVIRONMENT_SHARE if environment else 1.0)
    if total > 0:
        materials[:, 11] = materials[:, 8:11] @ _WEIGHTS * (share / total)
    chances = worth / total if total > 0 else np.full(len(worth), 1.0 / len(worth))
    return LightTable(rows=rows, alias=alias_table(chances), share=share)


def alias_table(chances: npt.NDArray[np.floating]) -> UInt32Array:
    """Vose's table for choosing rows by their chances, which add up to 1."""
    count = len(chances)
    result = np.zeros((count, 4), dtype=np.uint32)
    floats = result.view(np.float32)
    floats[:, 0], result[:, 1], floats[:, 2] = 1.0, np.arange(count), chances
    scaled = (np.asarray(chances, dtype=np.float64) * count).tolist()
    small = [index for index, value in enumerate(scaled) if value < 1.0]
    large = [index for index, value in enumerate(scaled) if value >= 1.0]
    while small and large:
        low, high = small.pop(), large[-1]
        floats[low, 0], result[low, 1] = scaled[low], high
        scaled[high] -= 1.0 - scaled[low]
        if scaled[high] < 1.0:
            small.append(large.pop())
    return result
