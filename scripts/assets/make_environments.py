"""Remakes scenes/assets/environments/*.exr from the HDRIs of the npm package @pmndrs/assets.

    npm pack @pmndrs/assets@1.7.0 && tar xzf pmndrs-assets-1.7.0.tgz
    python scripts/assets/make_environments.py package scenes/assets/environments

The pictures are Poly Haven's, CC0 1.0, 512x256, base64 inside JavaScript modules. Two things are
changed. The colour cast is mostly taken out, since it would turn whole frames blue or yellow: each
channel is divided by its mean over the sphere, to the power 0.8. And the mean luminance becomes 1,
so that one intensity means the same brightness with each.
"""

from __future__ import annotations

import argparse
import base64
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import OpenEXR

INDOOR = ("apartment", "lab", "lobby", "studio", "warehouse", "workshop")
WHITE_BALANCE = 0.8
BRIGHTEST = 2000.0
"""Above the brightest lamp of these pictures; guards against a broken pixel."""
DARKEST = 2e-3
"""A floor, since the file's lossy compression would make some of the darkest pixels negative."""


def decode(module: Path) -> npt.NDArray[np.float32]:
    """(H, W, 3) linear RGB of a JavaScript module that holds an EXR as a data URL."""
    match = re.search(r"base64,([^'\"]+)", module.read_text("ascii"))
    if match is None:
        raise ValueError(f"{module} holds no data URL")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "picture.exr"
        path.write_bytes(base64.b64decode(match[1]))
        # One channel at a time: the picture's own order is alphabetical.
        with OpenEXR.File(str(path), separate_channels=True) as file:
            planes = [np.array(file.channels()[name].pixels, np.float32) for name in "RGB"]
    picture = np.nan_to_num(np.stack(planes, axis=-1), posinf=BRIGHTEST)
    return np.clip(picture, 0.0, BRIGHTEST).astype(np.float32)


def balance(picture: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The picture with most of its cast removed and a mean radiance of 1 over the sphere."""
    height, width, _ = picture.shape
    # Rows near the poles cover less of the sphere.
    weight = np.sin((np.arange(height) + 0.5) / height * np.pi)[:, None, None]
    mean = (picture * weight).sum((0, 1)) / (weight.sum() * width)
    balanced = picture / (mean / mean.mean()) ** WHITE_BALANCE
    mean = (balanced * weight).sum((0, 1)) / (weight.sum() * width)
    return np.maximum(np.asarray(balanced / mean.mean(), np.float32), np.float32(DARKEST))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("package", type=Path, help="where the npm package was unpacked")
    parser.add_argument("environments", type=Path, help="scenes/assets/environments")
    arguments = parser.parse_args()
    arguments.environments.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(arguments.package / "LICENSE", arguments.environments / "LICENSE.txt")
    for name in INDOOR:
        picture = balance(decode(arguments.package / "hdri" / f"{name}.exr.js"))
        header = {"compression": OpenEXR.DWAB_COMPRESSION, "type": OpenEXR.scanlineimage}
        path = arguments.environments / f"{name}.exr"
        channels = {"RGB": np.ascontiguousarray(picture.astype(np.float16))}
        with OpenEXR.File(header, channels) as file:
            file.write(str(path))
        print(f"{name}: {picture.shape[1]}x{picture.shape[0]}, {path.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
