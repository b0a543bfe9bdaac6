"""Where objects may stand: the candidates of every kind of placement.

Pure geometry; metres, degrees, Z up. An asset's front faces -Y at yaw 0.
"""

from __future__ import annotations

from simcloud.spec.candidate import Ask, Candidate
from simcloud.spec.place_free import in_grid, on_path, scattered
from simcloud.spec.place_supported import WALL_GAP_M, at_wall, on_shelf, on_surface, on_top
from simcloud.spec.placement_model import (
    AlongWall,
    Drop,
    Grid,
    OnTop,
    OnWall,
    Path,
    Placement,
    Scatter,
    Shelf,
    Surface,
)


def candidate(placement: Placement, ask: Ask) -> Candidate | None:
    """The place that the draws of one try say; None when there can't be one.

    Raises:
        InvalidRequest: a shelf has no level of a name.
    """
    found: Candidate | None
    match placement:
        case Scatter():
            found = scattered(placement, ask)
        case AlongWall():
            gap = ask.draw("gap_m", placement.gap_m)
            jitter = ask.draw("yaw_jitter_deg", placement.yaw_jitter_deg)
            found = at_wall(placement.walls, ask, gap=gap, jitter_deg=jitter)
        case OnWall():
            height = ask.draw("height_m", placement.height_m)
            found = at_wall(placement.walls, ask, gap=WALL_GAP_M, height=height)
        case OnTop():
            found = on_top(placement, ask)
        case Shelf():
            found = on_shelf(placement, ask)
        case Grid():
            found = in_grid(placement, ask)
        case Path():
            found = on_path(placement, ask)
        case Surface():
            found = on_surface(placement, ask)
        case Drop():
            raise ValueError("what is dropped has no place to be tried: see sample_drop")
    return found
