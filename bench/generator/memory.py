"""Resident memory of a renderer process over many frames, and what each frame leaves behind.

The frames go through a worker of the generator as they do in a run: rendered, checked, encoded and
sent over its pipe. The slope is Theil and Sen's (the median of the slopes between all pairs of
frames), so that one block that an allocator takes or gives back does not decide it.
"""

# ruff: noqa: T201 - talks on standard output

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

from simcloud.spec.canonical import canonical_json
from simcloud.spec.model import Spec
from simcloud_generator.jobs import RenderJob, WorkerConfiguration
from simcloud_generator.pool import Recycling, open_pool

SCENE = Path(__file__).resolve().parents[2] / "scenes" / "showroom"
WARM_UP_FRAMES = 300
"""Until then textures and denoising filters come in, and the allocators find their size."""
PRINT_EVERY = 100
_MOST_POINTS = 1000
"""Pairs grow with the square of the points: longer rows are thinned out evenly."""


def small_showroom(width: int, height: int) -> Spec:
    """The demo's spec with a picture of this size, pixels."""
    raw = yaml.safe_load((SCENE / "spec.yaml").read_text())
    raw["cameras"][0] |= {"width_px": width, "height_px": height}
    return Spec.model_validate(raw)


def theil_sen(values: npt.NDArray[np.float64]) -> float:
    """Median slope between all pairs of an evenly spaced row, in the values' unit a step."""
    step = max(1, -(-len(values) // _MOST_POINTS))
    thinned = values[::step]
    first, second = np.triu_indices(len(thinned), k=1)
    return float(np.median((thinned[second] - thinned[first]) / ((second - first) * step)))


def report(found: npt.NDArray[np.float64]) -> None:
    """Prints the memory, KiB, after the last of these frames, and the slope until then."""
    told = f"frame {len(found)}: {found[-1] / 1024:.0f} MiB"
    if len(found) > WARM_UP_FRAMES + 1:
        told += f", slope {theil_sen(found[WARM_UP_FRAMES:]):.2f} KiB a frame"
    print(told, flush=True)


async def resident_kib(spec: Spec, frames: int, kernels: Path) -> npt.NDArray[np.float64]:
    """The worker's resident memory after each frame, KiB."""
    configuration = WorkerConfiguration(variant="auto", threads=1, kernel_cache=kernels)
    never = Recycling(frames=0, rss_bytes=0)
    payload = canonical_json(spec)
    found = np.zeros(frames)
    async with open_pool(workers=1, configuration=configuration, recycling=never) as pool:
        for frame in range(frames):
            job = RenderJob(
                stage=SCENE / "stage.usda", spec_json=payload, split="train", frame=frame
            )
            found[frame] = (await pool.render(job)).rss_bytes / 1024
            if frame % PRINT_EVERY == PRINT_EVERY - 1:
                report(found[: frame + 1])
    return found


def main() -> None:
    """Prints the memory every hundred frames, then the slope."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--size", default="160x120", help="WIDTHxHEIGHT of the picture")
    parser.add_argument("--kernels", type=Path, default=Path(tempfile.gettempdir()) / "kernels")
    arguments = parser.parse_args()
    if arguments.frames <= WARM_UP_FRAMES + 1:
        parser.error(f"--frames must be greater than {WARM_UP_FRAMES + 1}")
    width, height = (int(side) for side in arguments.size.split("x"))
    spec = small_showroom(width, height)
    found = asyncio.run(resident_kib(spec, arguments.frames, arguments.kernels))
    slope = theil_sen(found[WARM_UP_FRAMES:])
    print(f"slope after frame {WARM_UP_FRAMES}: {slope:.2f} KiB a frame")


if __name__ == "__main__":
    main()
