"""Makes our own props below scenes/assets: geometry, textures and all.

    python scripts/assets/make_props.py scenes/assets

Seeded by each prop's name: the same script gives the same bytes, and a new prop changes no other.
"""

from __future__ import annotations

import argparse
import shutil
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from mesh_ops import FloatArray, crease_normals, index_corners
from props import PROPS, Prop
from shapes import Shape
from usd_asset import AssetRecord, Part, write_asset

JPEG_QUALITY = 85
LICENCE = """This model and its textures were made for Simcloud by scripts/assets/make_props.py.

To the extent possible under law, the Simcloud authors have waived all copyright and related or
neighbouring rights to them: CC0 1.0 Universal, https://creativecommons.org/publicdomain/zero/1.0/
"""


def centred(shapes: list[Shape]) -> list[FloatArray]:
    """Triangles of each shape, the whole moved so that its base's centre is the origin."""
    points = np.concatenate([shape.triangles.reshape(-1, 3) for shape in shapes])
    low, high = points.min(0), points.max(0)
    origin = np.array([(low[0] + high[0]) / 2.0, (low[1] + high[1]) / 2.0, low[2]])
    return [shape.triangles - origin for shape in shapes]


def make(prop: Prop, assets: Path) -> None:
    """Writes one prop's folder."""
    folder = assets / prop.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "LICENSE.txt").write_text(LICENCE, "utf-8")
    seed = zlib.crc32(prop.name.encode("ascii"))
    for name, draw in prop.textures.items():
        picture: npt.NDArray[Any] = np.clip(draw(np.random.default_rng(seed)), 0.0, 1.0)
        if picture.shape[0] > prop.texture_px:
            picture = cv2.resize(picture, (prop.texture_px,) * 2, interpolation=cv2.INTER_AREA)
        bgr = np.round(picture[..., ::-1] * 255.0).astype(np.uint8)
        cv2.imwrite(str(folder / f"{name}.jpg"), bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    painted = prop.build(np.random.default_rng(seed))
    parts = []
    for triangles, (shape, look) in zip(
        centred([shape for shape, _ in painted]), painted, strict=True
    ):
        texcoords = shape.texcoords if look.texture is not None else None
        parts.append(Part(index_corners(triangles, crease_normals(triangles), texcoords), look))
    record = AssetRecord(
        name=prop.name,
        label=prop.label,
        placement=prop.placement,
        author="Simcloud authors",
        source="scripts/assets/make_props.py",
        licence="CC0 1.0",
        title=prop.title,
    )
    path = write_asset(folder, record, parts)
    count = sum(len(part.mesh.faces) for part in parts)
    print(f"{prop.name}: {count} triangles, {path.stat().st_size // 1024} KB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("assets", type=Path, help="scenes/assets")
    assets: Path = parser.parse_args().assets
    for prop in PROPS:
        make(prop, assets)


if __name__ == "__main__":
    main()
