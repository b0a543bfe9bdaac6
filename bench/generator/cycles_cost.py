"""CPU seconds for a picture of equal quality: ours and Blender's Cycles, in turn.

Each renderer's pictures are compared with its own reference of many samples, developed alike
(auto exposure, tone curve, eight bits), so that neither is judged by the other's light transport.
The samples of each are doubled until the bar is reached; the cost at the bar is interpolated
between the last two. Both denoise with Open Image Denoise, albedo and normals as guides, on one
thread, with one path depth. Counted is what a frame costs once everything is warm: ours builds its
scene, renders, denoises; Cycles builds its scene (not: Blender's import of the stage), renders,
denoises.
"""

# ruff: noqa: T201 - talks on standard output

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent / "cycles"))

import blender
from frame_stage import write_frame_stage

from simcloud.scene.catalog import read_catalog
from simcloud.spec.model import Spec
from simcloud.spec.parameters import FrameParameters
from simcloud.spec.sample import sample
from simcloud_generator.backends.base import Session
from simcloud_generator.backends.mitsuba.backend import MitsubaBackend
from simcloud_generator.backends.mitsuba.film import develop
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings

SCENE = Path(__file__).resolve().parents[2] / "scenes" / "showroom"
BAR_DB = 34.0
SAMPLES = (1, 2, 4, 8, 16, 32, 64)
_RGB = ("rgb",)

Picture = npt.NDArray[np.uint8]
Renderer = Callable[[int, bool], tuple[Picture, float]]
"""Samples and whether to denoise, to a picture and its CPU seconds."""


def psnr_db(picture: Picture, reference: Picture) -> float:
    """Peak signal to noise ratio of two (H, W, 3) uint8 pictures."""
    error = np.mean((picture.astype(np.float64) - reference.astype(np.float64)) ** 2)
    return math.inf if error == 0 else 10 * math.log10(255.0**2 / error)


class Ours:
    """Our backend, warm: a picture's cost has no compiling and no reading in it."""

    def __init__(self, parameters: FrameParameters, kernels: Path) -> None:
        self._parameters = parameters
        self._kernels = kernels

    def __call__(self, samples: int, denoise: bool) -> tuple[Picture, float]:
        """A picture and its CPU seconds, labels left out."""
        session = self._open(samples, denoise)
        session.render(self._parameters, _RGB)
        # Other work on the machine makes CPU seconds larger and never smaller.
        best = math.inf
        for _ in range(1 if not denoise else 3):
            begin = time.process_time()
            view = session.render(self._parameters, _RGB)[0]
            # Labels are made with every picture of ours; Cycles makes none here.
            labels = view.timings.get("labels", 0.0)
            best = min(best, time.process_time() - begin - labels)
        session.close()
        return view.arrays["rgb"], best

    def _open(self, samples: int, denoise: bool) -> Session:
        settings = MitsubaSettings(
            spp=samples, denoise=denoise, threads=1, kernel_cache=self._kernels
        )
        backend = MitsubaBackend(settings, clock=time.process_time)
        return backend.open(SCENE / "stage.usda")


class Theirs:
    """Cycles, a process a picture."""

    def __init__(self, parameters: FrameParameters, stage: Path, *, seed: int = 0) -> None:
        camera = parameters.cameras[0]
        self._request = {
            "kind": "picture",
            "stage": str(stage),
            "camera": camera.name,
            "size": [camera.width, camera.height],
            "seed": seed,
            "bounces": MitsubaSettings().max_depth - 1,
        }

    def __call__(self, samples: int, denoise: bool) -> tuple[Picture, float]:
        """A picture and its CPU seconds, the import of the stage left out."""
        answer = blender.render({**self._request, "samples": samples, "denoise": denoise})
        channels = answer.channels
        name = next(key for key in channels if key.startswith("Combined"))
        return develop(np.ascontiguousarray(channels[name][..., :3]), None), answer.cpu_s


def cost_at_bar(name: str, renderer: Renderer, reference: Picture, bar_db: float) -> float:
    """CPU seconds at a PSNR, interpolated in their logarithm; prints the way there.

    Raises:
        RuntimeError: the bar is not reached with the most samples.
    """
    before: tuple[float, float] | None = None
    for samples in SAMPLES:
        picture, cpu_s = renderer(samples, True)
        quality = psnr_db(picture, reference)
        print(f"  {name:8} {samples:3} samples  {quality:5.2f} dB  {cpu_s:6.2f} CPU-s", flush=True)
        if quality >= bar_db:
            if before is None:
                return cpu_s
            share = (bar_db - before[0]) / (quality - before[0])
            return float(before[1] * (cpu_s / before[1]) ** share)
        before = (quality, cpu_s)
    raise RuntimeError(f"{name} does not reach {bar_db} dB with {SAMPLES[-1]} samples")


def main() -> None:
    """Prints both costs and their ratio for every frame."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=2)
    parser.add_argument("--size", default="480x360")
    parser.add_argument("--reference-samples", type=int, default=1024)
    parser.add_argument("--bar", type=float, default=BAR_DB, help="PSNR, dB")
    parser.add_argument("--keep", type=Path, help="folder to keep the references in, to look at")
    asked = parser.parse_args()
    width, height = (int(part) for part in asked.size.split("x"))
    raw = yaml.safe_load((SCENE / "spec.yaml").read_text())
    raw["cameras"][0] |= {"width_px": width, "height_px": height}
    spec, catalog = Spec.model_validate(raw), read_catalog(SCENE / "stage.usda")
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for frame in range(asked.frames):
            parameters = sample(spec, catalog, frame)
            stage = Path(folder) / f"frame{frame}.usda"
            write_frame_stage(SCENE / "stage.usda", parameters, stage)
            costs = {}
            peers: dict[str, Renderer] = {
                "simcloud": Ours(parameters, Path(folder) / "kernels"),
                "cycles": Theirs(parameters, stage),
            }
            # Other noise than the pictures', or they would share some of it.
            other = replace(parameters, render_seed=parameters.render_seed ^ 0x5EED)
            references: dict[str, Renderer] = {
                "simcloud": Ours(other, Path(folder) / "kernels"),
                "cycles": Theirs(parameters, stage, seed=0x5EED),
            }
            for name, renderer in peers.items():
                half = asked.reference_samples // 2
                reference, _ = references[name](asked.reference_samples, False)
                other_half, _ = renderer(half, False)
                # What noise the reference has left: no picture can be told to be closer to it.
                print(
                    f"  {name:8} reference and another of half its samples: "
                    f"{psnr_db(other_half, reference):.2f} dB",
                    flush=True,
                )
                if asked.keep:
                    np.save(asked.keep / f"{name}-{frame}.npy", reference)
                costs[name] = cost_at_bar(name, renderer, reference, asked.bar)
            ratios.append(costs["cycles"] / costs["simcloud"])
            print(
                f"frame {frame}: {asked.bar:g} dB costs simcloud {costs['simcloud']:.2f}, cycles "
                f"{costs['cycles']:.2f} CPU-s: ratio {ratios[-1]:.2f}",
                flush=True,
            )
    print(f"median ratio {float(np.median(ratios)):.2f} (bar 3)")


if __name__ == "__main__":
    main()
