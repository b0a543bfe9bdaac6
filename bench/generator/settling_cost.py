"""CPU seconds of letting things fall until they rest: thirty boxes of three kinds into a bin.

The least of several rounds of each frame, as in ``frame_cost.py``: other work on the machine makes
CPU time larger and never smaller.
"""

# ruff: noqa: T201 - talks on standard output

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from simcloud.scene.catalog import read_catalog
from simcloud.spec.model import Spec
from simcloud.spec.sample import sample
from simcloud_generator.settling.settler import Settler
from simcloud_generator.settling.simulation import TOLERANCE_M

SCENE = Path(__file__).resolve().parents[2] / "scenes" / "showroom"
CAMERA = {
    "name": "main",
    "width_px": 64,
    "height_px": 48,
    "placement": {"kind": "look_at", "eye": [0, -3, 1.5], "target": [0, 0, 0]},
}


def spec(objects: int, assets: list[str]) -> Spec:
    """Things dropped onto a square metre of the showroom's floor, between invisible walls."""
    region = {"x_m": [-0.5, 0.5], "y_m": [-0.5, 0.5], "z_m": [0, 1]}
    group = {
        "name": "heap",
        "count": objects,
        "assets": {"choice": assets},
        "scale": {"uniform": [0.4, 0.7]},
        "placement": {"kind": "drop", "into": region, "walls": "kept"},
    }
    return Spec.model_validate(
        {
            "scene": {"root": "stage.usda"},
            "cameras": [CAMERA],
            "randomization": {"objects": [group]},
        }
    )


def measure(settler: Settler, wanted: Spec, frames: int, rounds: int) -> None:
    """Prints a row a frame and their mean."""
    catalog = read_catalog(SCENE / "stage.usda")
    costs = []
    for frame in range(frames):
        parameters = sample(wanted, catalog, frame)
        settled = settler.settle(parameters)  # makes the collision shapes, too
        spent = []
        for _ in range(rounds):
            begin = time.process_time()
            settler.settle(parameters)
            spent.append(time.process_time() - begin)
        costs.append(min(spent))
        values = settled.values
        print(
            f"frame {frame}: {costs[-1]:.3f} CPU-s, {len(settled.objects)} objects at rest, "
            f"{values['objects.heap.dropped_out']} taken out, {values['settling.frozen']} frozen, "
            f"{values['settling.attempts']} attempt(s)"
        )
    print(
        f"mean {statistics.mean(costs):.3f} CPU-s a frame; overlaps <= {TOLERANCE_M * 1e3:.0f} mm"
    )


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=30)
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--assets", nargs="+", default=["carton_small", "ball", "teddy_bear"])
    asked = parser.parse_args()
    begin = time.process_time()
    settler = Settler(SCENE / "stage.usda")
    print(f"open: {time.process_time() - begin:.2f} CPU-s, once a worker")
    measure(settler, spec(asked.objects, asked.assets), asked.frames, asked.rounds)


if __name__ == "__main__":
    main()
