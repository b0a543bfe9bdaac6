"""Draws scenes/showroom/textures/*.jpg: the floors and walls, procedural and seeded.

python scripts/assets/make_textures.py scenes/showroom/textures
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from room_textures import ROOM_TEXTURES, RoomTexture

JPEG_QUALITY = 85


def draw(texture: RoomTexture, folder: Path) -> Path:
    """Writes one texture; the same name gives the same bytes."""
    # By name, so that adding a texture leaves the others as they are.
    rng = np.random.default_rng(zlib.crc32(texture.name.encode("ascii")))
    drawn_px = texture.size_px * texture.oversampling
    picture: npt.NDArray[Any] = np.clip(texture.draw(rng, drawn_px, texture.width_m), 0.0, 1.0)
    if drawn_px != texture.size_px:
        picture = cv2.resize(picture, (texture.size_px,) * 2, interpolation=cv2.INTER_AREA)
    path = folder / f"{texture.name}.jpg"
    bgr = np.round(picture[..., ::-1] * 255.0).astype(np.uint8)
    cv2.imwrite(str(path), bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="scenes/showroom/textures")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for texture in ROOM_TEXTURES:
        path = draw(texture, folder)
        print(f"{texture.name}: {path.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
