"""A frame's lights beside the stage's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simcloud.geometry import Float64
from simcloud.spec.parameters import DomeLight, RectLight

POLE_TO_Z = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
"""Turns a latitude-longitude image's pole (+Y) to world +Z; its centre then lies towards -Y."""


@dataclass(frozen=True, slots=True)
class Lighting:
    """A frame's lights beside the stage's own."""

    dome: DomeLight | None
    dome_path: str | None
    """Absolute path of the dome's texture."""
    rects: tuple[RectLight, ...]


def dome_turn(dome: DomeLight) -> Float64:
    """(4, 4) a dome's image, pole +Y, to world."""
    angle = np.radians(dome.rotation_deg)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn @ POLE_TO_Z
