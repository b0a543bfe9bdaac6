"""A spec whose frames are large and cheap: depth and normals of a hilly ground, no picture."""

from __future__ import annotations

import math
from pathlib import Path

import yaml

from simcloud.spec.parameters import Vector3
from support.scenes import add_cube, add_mesh, new_stage, save

_HALF_M = 6.0
_CELLS = 48


def write_spec(folder: Path) -> Path:
    """Writes a stage and its spec into a folder; returns the spec's file.

    A frame has 2.6 to 2.9 MB, so that two make a part of S3's smallest size, and costs 0.4 CPU
    seconds: rays and encoding, no light transport.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stage = new_stage()
    across = range(_CELLS + 1)
    step = 2 * _HALF_M / _CELLS
    ground = [(-_HALF_M + step * i, -_HALF_M + step * j) for j in across for i in across]
    points: list[Vector3] = [
        (x, y, 0.35 * math.sin(1.7 * x) * math.cos(1.3 * y)) for x, y in ground
    ]
    width = _CELLS + 1
    faces: list[tuple[int, ...]] = [
        (j * width + i, j * width + i + 1, (j + 1) * width + i + 1, (j + 1) * width + i)
        for j in range(_CELLS)
        for i in range(_CELLS)
    ]
    add_mesh(stage, "/World/Ground", points, faces)
    add_cube(stage, "/World/Box", size=1.0, label="box")
    save(stage, folder)
    spec = folder / "spec.yaml"
    spec.write_text(
        yaml.safe_dump(
            {
                "version": "simcloud.spec/v1",
                "seed": 7,
                "scene": {"root": "stage.usda"},
                "annotators": ["distance_to_camera", "distance_to_image_plane", "normals"],
                "encodings": {"normals": "exr_float"},
                "renderer": {"backend": "mitsuba", "variant": "scalar_rgb"},
                "cameras": [
                    {
                        "name": "main",
                        "width_px": 800,
                        "height_px": 688,
                        "placement": {
                            "kind": "look_at",
                            "eye": [{"uniform": [-2, 2]}, -3.2, {"uniform": [1.6, 2.2]}],
                            "target": [0, 0.8, 0.3],
                        },
                    }
                ],
            }
        )
    )
    return spec
