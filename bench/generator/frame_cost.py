"""CPU seconds of a frame by stage: the showroom, warm, one thread.

CPU seconds and not wall-clock time, and the least of several rounds, because other work on the
machine makes both larger and never smaller. See ``bench/README.md`` for how to read the result.
"""

# ruff: noqa: T201 - talks on standard output

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

from simcloud.annotators import ANNOTATORS
from simcloud.dataset.encode import encode
from simcloud.labels.qa import check_view
from simcloud.s3.checksums import crc64nvme
from simcloud.scene.catalog import Catalog, read_catalog
from simcloud.spec.model import Spec
from simcloud.spec.parameters import FrameParameters
from simcloud.spec.sample import sample
from simcloud_generator.backends.base import Session
from simcloud_generator.backends.mitsuba.backend import MitsubaBackend
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings

SCENE = Path(__file__).resolve().parents[2] / "scenes" / "showroom"
PICTURE_STAGES = ("render", "guides", "denoise")
"""Stages that Mitsuba and Open Image Denoise spend; everything else is the generator's own."""

Stages = dict[str, float]


class Bench:
    """The showroom opened for one spec.

    Args:
        width: of the picture, pixels.
        height: of the picture, pixels.
        kernels: folder of compiled kernels.
    """

    def __init__(self, *, width: int, height: int, kernels: Path) -> None:
        raw = yaml.safe_load((SCENE / "spec.yaml").read_text())
        raw["cameras"][0] |= {"width_px": width, "height_px": height}
        self._spec = Spec.model_validate(raw)
        self._catalog: Catalog = read_catalog(SCENE / "stage.usda")
        renderer = self._spec.renderer
        settings = MitsubaSettings(
            variant=renderer.variant,
            spp=renderer.samples_per_pixel,
            max_depth=renderer.max_depth,
            denoise=renderer.denoise,
            aux_spp=renderer.guide_samples,
            threads=1,
            kernel_cache=kernels,
        )
        backend = MitsubaBackend(settings, clock=time.process_time)
        self._session: Session = backend.open(SCENE / "stage.usda")

    def stages(self, index: int) -> Stages:
        """CPU seconds of a frame by stage."""
        result: Stages = {}
        begin = time.process_time()
        parameters: FrameParameters = sample(self._spec, self._catalog, index)
        result["sample"] = time.process_time() - begin
        begin = time.process_time()
        views = self._session.render(parameters, self._spec.annotators)
        whole = time.process_time() - begin
        for view in views:
            for stage, seconds in view.timings.items():
                result[stage] = result.get(stage, 0.0) + seconds
        result["between"] = whole - sum(sum(view.timings.values()) for view in views)
        begin = time.process_time()
        for view in views:
            if check_view(view.camera, view.arrays, view.objects):
                raise SystemExit(f"frame {index} breaks the rules of labels")
        result["check"] = time.process_time() - begin
        begin = time.process_time()
        for view in views:
            for name in self._spec.annotators:
                if ANNOTATORS[name].is_layer:
                    crc64nvme(encode(view.arrays[name], self._spec.encodings[name]))
        result["encode"] = time.process_time() - begin
        return result

    def launches(self, index: int) -> tuple[int, int]:
        """Kernels that a frame starts, and how many of them had to be compiled."""
        import drjit

        flag = drjit.JitFlag.KernelHistory
        drjit.kernel_history_clear()
        drjit.set_flag(flag, True)
        try:
            self._session.render(sample(self._spec, self._catalog, index), self._spec.annotators)
            history = drjit.kernel_history()
        finally:
            drjit.set_flag(flag, False)
        return len(history), sum(not entry.get("cache_hit", True) for entry in history)


def measure(bench: Bench, frames: int, rounds: int) -> list[Stages]:
    """For each frame the least that each stage took in any round, after one that is not counted."""
    best: list[Stages] = []
    for index in range(frames):
        bench.stages(index)
    for _ in range(rounds):
        for index in range(frames):
            found = bench.stages(index)
            if len(best) <= index:
                best.append(found)
            best[index] = {name: min(best[index][name], found[name]) for name in found}
    return best


def print_stages(stages: list[Stages]) -> None:
    """A table of stages, and the share that is not rendering."""
    totals = [sum(frame.values()) for frame in stages]
    print("| stage | mean CPU s | least | most |\n|---|---|---|---|")
    for name in stages[0]:
        values = [frame[name] for frame in stages]
        print(f"| {name} | {np.mean(values):.3f} | {min(values):.3f} | {max(values):.3f} |")
    print(f"| all | {np.mean(totals):.3f} | {min(totals):.3f} | {max(totals):.3f} |")
    own = [sum(s for name, s in frame.items() if name not in PICTURE_STAGES) for frame in stages]
    print(f"not rendering: {np.sum(own) / np.sum(totals):.1%} of the CPU time")


def print_launches(bench: Bench, frames: int) -> None:
    """How many kernels frames start and compile; frames that were not rendered before."""
    launches = [bench.launches(index) for index in range(frames, 2 * frames)]
    counts = [count for count, _ in launches]
    compiled = sum(missing for _, missing in launches)
    print(f"kernels: {min(counts)} to {max(counts)} a frame, {compiled} compiled after warm-up")


def main() -> None:
    """Prints what frames cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", default="640x480", help="WIDTHxHEIGHT of the picture")
    parser.add_argument("--kernels", type=Path, default=Path(tempfile.gettempdir()) / "kernels")
    arguments = parser.parse_args()
    width, height = (int(side) for side in arguments.size.split("x"))
    bench = Bench(width=width, height=height, kernels=arguments.kernels)
    print_stages(measure(bench, arguments.frames, arguments.rounds))
    print_launches(bench, arguments.frames)


if __name__ == "__main__":
    main()
