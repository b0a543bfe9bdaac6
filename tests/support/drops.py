"""A stage with a bin, a table and things to drop, all of them boxes whose sizes are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simcloud.spec.model import Spec
from simcloud.spec.parameters import Vector3
from support.scenes import add_library_asset, add_mesh, add_quad, new_stage, save

BIN_INNER_M = (0.4, 0.3, 0.25)
"""Width, depth and height of the bin's hollow."""
BIN_WALL_M = 0.005
TABLE_TOP_M = 0.7
SIZES_M: dict[str, Vector3] = {
    "brick": (0.12, 0.06, 0.04),
    "die": (0.05, 0.05, 0.05),
    "plate": (0.1, 0.1, 0.01),
}
CAMERA: dict[str, object] = {
    "name": "main",
    "width_px": 32,
    "height_px": 24,
    "placement": {"kind": "look_at", "eye": [0, -1.5, 1.2], "target": [0, 0, 0.1]},
}


def add_box(stage: Any, path: str, low: Vector3, high: Vector3, label: str | None = None) -> Any:
    """A closed box of six quads that share their corners."""
    points = [
        (x, y, z) for z in (low[2], high[2]) for y in (low[1], high[1]) for x in (low[0], high[0])
    ]
    faces: list[tuple[int, ...]] = [
        (0, 2, 3, 1),
        (4, 5, 7, 6),
        (0, 1, 5, 4),
        (2, 6, 7, 3),
        (0, 4, 6, 2),
        (1, 3, 7, 5),
    ]
    return add_mesh(stage, path, points, faces, label=label)


def add_bin(stage: Any, path: str) -> None:
    """An open bin as one closed mesh, its base at its frame's origin."""
    width, depth, height = BIN_INNER_M
    a, b = width / 2, depth / 2
    t = BIN_WALL_M
    rings = [
        (a + t, b + t, 0.0),
        (a + t, b + t, height + t),
        (a, b, height + t),
        (a, b, t),
    ]
    points: list[Vector3] = [
        (x * u, y * v, z) for x, y, z in rings for u, v in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    faces: list[tuple[int, ...]] = [(3, 2, 1, 0), (12, 13, 14, 15)]
    for ring in range(3):
        low, high = 4 * ring, 4 * ring + 4
        faces += [(low + k, low + (k + 1) % 4, high + (k + 1) % 4, high + k) for k in range(4)]
    add_mesh(stage, path, points, faces)


def drop_stage(folder: Path) -> Path:
    """A floor, a table at x = 2, a bin at x = -2, and a library with a bin and boxes."""
    stage = new_stage()
    add_quad(stage, "/World/Floor", half=5.0)
    add_box(
        stage, "/World/Table", (1.5, -0.5, TABLE_TOP_M - 0.04), (2.5, 0.5, TABLE_TOP_M), "table"
    )
    add_bin(stage, "/World/Bin")
    _move(stage, "/World/Bin", (-2.0, 0.0, 0.0))
    add_library_asset(stage, "bin", "bin")
    add_bin(stage, "/Library/bin/Shell")
    for name, size in SIZES_M.items():
        add_library_asset(stage, name, name)
        half = (size[0] / 2, size[1] / 2)
        add_box(
            stage,
            f"/Library/{name}/Shape",
            (-half[0], -half[1], 0.0),
            (half[0], half[1], size[2]),
        )
    return save(stage, folder)


def _move(stage: Any, path: str, by: Vector3) -> None:
    from pxr import Gf, UsdGeom

    UsdGeom.Xformable(stage.GetPrimAtPath(path)).AddTranslateOp().Set(Gf.Vec3d(*by))


def drop_spec(*groups: dict[str, object], seed: int = 5) -> Spec:
    """A spec with these groups of objects."""
    return Spec.model_validate(
        {
            "seed": seed,
            "scene": {"root": "stage.usda"},
            "cameras": [CAMERA],
            "renderer": {"samples_per_pixel": 1, "denoise": False},
            "randomization": {"objects": list(groups)},
        }
    )


def heap(into: object, count: int = 10, **more: object) -> dict[str, object]:
    """A group that is dropped."""
    return {
        "name": "heap",
        "count": count,
        "assets": {"choice": ["brick", "die"]},
        "placement": {"kind": "drop", "into": into, **more},
    }


ONE_BIN: dict[str, object] = {
    "name": "bins",
    "assets": "bin",
    "placement": {"kind": "scatter", "x_m": 0.2, "y_m": -0.1, "yaw_deg": 30},
}
