"""CPU seconds for a picture of equal quality: ours and Blender's Cycles, in turn.

What is compared is what is delivered, denoised pictures, each renderer with its own use of Open
Image Denoise: ours as it ships (Fast, guides of samples of their own), Cycles with its denoising
passes, Fast and Balanced, whichever is cheaper at the bar. One thread, one path depth, one
exposure, a pinhole, a box filter of a pixel. The samples of each are doubled until the bar is
reached; the cost at the bar is interpolated between the last two. The bars are 34 dB (``--bar``)
and what ours reaches at the samples it ships with.

Each renderer is held beside the limit of its own samples, so that neither is judged by the other's
light transport. That limit is unknown: a reference has noise of its own, and beside one of 512
samples no picture of the showroom is told to be nearer than 30 dB. So there are two references
with independent noise, A and B, and a picture P's squared error is the mean of (P - A)(P - B). The
noise of A and of B is in each factor, but not the same one, so that their product has no part in
the mean. References are not denoised, since their bias would be the pictures' too. They are
developed before they are multiplied, and the mean of developed noise is not the developed mean:
this stays, and is told against whose references are noisier. It was seen to take half a decibel
and more from good pictures beside references of 64 samples, so take many.

Counted is what a frame costs once everything is warm: ours builds its scene, renders, denoises,
develops; Cycles builds its scene (not: Blender's import of the stage, nor its start), renders,
denoises. Each is rendered several times in one process, the least counts; each round measures all
anew, in turn, and the median of the rounds' ratios is told.
"""

# ruff: noqa: T201 - talks on standard output

from __future__ import annotations

import argparse
import hashlib
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent / "cycles"))

import blender
from frame_stage import write_frame_stage

from simcloud.scene.catalog import Catalog, read_catalog
from simcloud.spec.model import Renderer, Spec
from simcloud.spec.parameters import FrameParameters
from simcloud.spec.sample import sample
from simcloud_generator.backends.mitsuba.backend import PICTURE_REVISION, MitsubaBackend
from simcloud_generator.backends.mitsuba.film import AUTO_EXPOSURE_KEY, develop
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings

SCENE = Path(__file__).resolve().parents[2] / "scenes" / "showroom"
BAR_DB = 34.0
LEAST_RATIO = 3.0
SAMPLES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SHIPPED_SAMPLES = Renderer().samples_per_pixel
REFERENCE_SEEDS = (0x5EED, 0xB0B)
REPEATS = 2
"""Of one picture in one process. What is first done in a process is dearer, and other work on the
machine makes CPU seconds larger and never smaller: the least counts."""
EXPOSURE_SAMPLES = 8
_RGB = ("rgb",)
_OURS = "simcloud"

Picture = npt.NDArray[np.uint8]
"""(H, W, 3)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A picture of a frame."""

    samples: int
    seed: int = 0
    denoise: bool = True
    repeats: int = 1
    """How often it is made in one process; the least cost counts."""


Draw = Callable[[Wanted], tuple[Picture, float]]
"""A picture and its CPU seconds."""


@dataclass(frozen=True, slots=True)
class Rung:
    """What some samples give and cost."""

    samples: int
    quality_db: float
    cpu_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Two references of one renderer with independent noise."""

    first: Picture
    second: Picture

    def psnr_db(self, picture: Picture) -> float:
        """Peak signal to noise ratio to the limit of many samples, the references' noise out."""
        values = picture.astype(np.float64)
        error = float(np.mean((values - self.first) * (values - self.second)))
        return math.inf if error <= 0 else 10 * math.log10(255.0**2 / error)

    @property
    def agreement_db(self) -> float:
        """PSNR of one reference to the other."""
        error = np.mean((self.first.astype(np.float64) - self.second) ** 2)
        return 10 * math.log10(255.0**2 / float(error))


def our_pictures(parameters: FrameParameters, kernels: Path) -> Draw:
    """Our backend with the settings it ships with, warm: no compiling and no reading is counted."""

    def draw(wanted: Wanted) -> tuple[Picture, float]:
        shipped = Renderer()
        settings = MitsubaSettings(
            spp=wanted.samples,
            max_depth=shipped.max_depth,
            denoise=wanted.denoise,
            aux_spp=shipped.guide_samples,
            threads=1,
            kernel_cache=kernels,
        )
        session = MitsubaBackend(settings, clock=time.process_time).open(SCENE / "stage.usda")
        seeded = replace(parameters, render_seed=parameters.render_seed ^ wanted.seed)
        best = math.inf
        # The first one also reads textures and compiles: it is not counted. References are not
        # asked what they cost.
        for repeat in range(wanted.repeats + wanted.denoise):
            begin = time.process_time()
            view = session.render(seeded, _RGB)[0]
            # Labels are made with every picture of ours; Cycles makes none here.
            spent = time.process_time() - begin - view.timings["labels"]
            best = min(best, spent if repeat else math.inf)
        session.close()
        return view.arrays["rgb"], best

    return draw


def their_pictures(parameters: FrameParameters, stage: Path, quality: str = "FAST") -> Draw:
    """Cycles, a process a picture; the import of the stage is not counted."""
    camera = parameters.cameras[0]

    def draw(wanted: Wanted) -> tuple[Picture, float]:
        radiance, cpu_s = _cycles(parameters, stage, wanted, quality)
        return develop(radiance, camera.exposure_ev), cpu_s

    return draw


def _cycles(
    parameters: FrameParameters, stage: Path, wanted: Wanted, quality: str
) -> tuple[npt.NDArray[np.float32], float]:
    """Linear radiance (H, W, 3) and CPU seconds."""
    camera = parameters.cameras[0]
    answer = blender.render(
        {
            "kind": "picture",
            "stage": str(stage),
            "camera": camera.name,
            "size": [camera.width, camera.height],
            "samples": wanted.samples,
            "seed": wanted.seed,
            "denoise": wanted.denoise,
            "quality": quality,
            "bounces": Renderer().max_depth - 1,
            "repeats": wanted.repeats,
        }
    )
    name = next(key for key in answer.channels if key.startswith("Combined"))
    return np.ascontiguousarray(answer.channels[name][..., :3]), answer.cpu_s


def exposed(parameters: FrameParameters, stage: Path) -> FrameParameters:
    """The frame with a fixed exposure, the one that Cycles' picture of a few samples calls for.

    Automatic exposure would see the noise, of which references have more than denoised pictures.
    """
    radiance, _ = _cycles(parameters, stage, Wanted(EXPOSURE_SAMPLES), "BALANCED")
    mean = np.exp(np.log(np.maximum(radiance.mean(axis=-1), 1e-4)).mean())
    stops = float(np.log2(AUTO_EXPOSURE_KEY / mean))
    return replace(parameters, cameras=(replace(parameters.cameras[0], exposure_ev=stops),))


def pinhole(parameters: FrameParameters) -> FrameParameters:
    """The frame with a lens that keeps all sharp: the frame's stage tells Blender of no other."""
    camera = replace(parameters.cameras[0], f_stop=None, focus_distance_m=None)
    return replace(parameters, cameras=(camera,))


def kept(folder: Path, key: str, draw: Draw, wanted: Wanted) -> Picture:
    """A reference: drawn once, then read from the folder."""
    name = hashlib.sha256(f"{key} {wanted}".encode()).hexdigest()[:24]
    path = folder / f"{name}.npy"
    if not path.exists():
        picture, _ = draw(wanted)
        folder.mkdir(parents=True, exist_ok=True)
        np.save(path, picture)
    return np.asarray(np.load(path), dtype=np.uint8)


def climb(name: str, draw: Draw, truth: Truth, bar_db: float) -> list[Rung]:
    """Doubles the samples until the bar is reached.

    Raises:
        RuntimeError: it is not reached with the most samples.
    """
    rungs: list[Rung] = []
    for samples in SAMPLES:
        picture, cpu_s = draw(Wanted(samples, repeats=REPEATS))
        rungs.append(Rung(samples, truth.psnr_db(picture), cpu_s))
        print(
            f"  {name:16} {samples:3} samples  {rungs[-1].quality_db:5.2f} dB  {cpu_s:6.2f} CPU-s",
            flush=True,
        )
        if rungs[-1].quality_db >= bar_db and samples >= SHIPPED_SAMPLES:
            return rungs
    raise RuntimeError(f"{name} does not reach {bar_db:.2f} dB with {SAMPLES[-1]} samples")


def bracket(rungs: Sequence[Rung], bar_db: float) -> tuple[Rung, Rung]:
    """The rungs below and above a bar; twice the first one where that is above it already."""
    above = next(index for index, rung in enumerate(rungs) if rung.quality_db >= bar_db)
    return rungs[max(above - 1, 0)], rungs[above]


def cost_at(below: Rung, above: Rung, bar_db: float) -> float:
    """CPU seconds at a bar, interpolated in their logarithm."""
    if below.samples == above.samples:
        return above.cpu_s
    share = (bar_db - below.quality_db) / (above.quality_db - below.quality_db)
    return float(below.cpu_s * (above.cpu_s / below.cpu_s) ** share)


class Contest:
    """One frame drawn by all.

    Args:
        parameters: the frame's, exposed.
        stage: the frame as a stage of its own.
        keep: folder of references.
        reference_samples: of each of the two references.
    """

    def __init__(
        self, parameters: FrameParameters, stage: Path, *, keep: Path, reference_samples: int
    ) -> None:
        kernels = Path(tempfile.gettempdir()) / "kernels"
        self._draws: dict[str, Draw] = {
            _OURS: our_pictures(parameters, kernels),
            "cycles fast": their_pictures(parameters, stage, "FAST"),
            "cycles balanced": their_pictures(parameters, stage, "BALANCED"),
        }
        self._truths: dict[str, Truth] = {}
        for renderer, version in ((_OURS, PICTURE_REVISION), ("cycles", _blender_pin())):
            draw = self._draws[_OURS if renderer == _OURS else "cycles fast"]
            key = f"{renderer} {version} {parameters}"
            first, second = (
                kept(keep, key, draw, Wanted(reference_samples, seed=seed, denoise=False))
                for seed in REFERENCE_SEEDS
            )
            self._truths[renderer] = Truth(first, second)
            agreement = self._truths[renderer].agreement_db
            print(f"  {renderer:16} references agree to {agreement:.2f} dB", flush=True)

    def ratios(self, bar_db: float, rounds: int) -> dict[float, list[float]]:
        """Cycles' cost divided by ours, for each bar a value a round."""
        ours = climb(_OURS, self._draws[_OURS], self._truths[_OURS], bar_db)
        shipped = next(rung.quality_db for rung in ours if rung.samples == SHIPPED_SAMPLES)
        bars = sorted({bar_db, shipped})
        ladders = {_OURS: ours} | {
            name: climb(name, draw, self._truths["cycles"], bars[-1])
            for name, draw in self._draws.items()
            if name != _OURS
        }
        found: dict[float, list[float]] = {bar: [] for bar in bars}
        for number in range(rounds):
            if number:
                ladders = {name: self._again(name, rungs, bars) for name, rungs in ladders.items()}
            for bar in bars:
                costs = {
                    name: cost_at(*bracket(rungs, bar), bar) for name, rungs in ladders.items()
                }
                theirs = min(cost for name, cost in costs.items() if name != _OURS)
                found[bar].append(theirs / costs[_OURS])
                told = ", ".join(f"{name} {cost:.2f}" for name, cost in costs.items())
                print(f"  at {bar:.2f} dB: {told} CPU-s: ratio {found[bar][-1]:.2f}", flush=True)
        return found

    def _again(self, name: str, rungs: list[Rung], bars: list[float]) -> list[Rung]:
        """The rungs beside the bars with their cost measured anew; their pictures are the same."""
        needed = {rung.samples for bar in bars for rung in bracket(rungs, bar)}
        return [
            replace(rung, cpu_s=self._draws[name](Wanted(rung.samples, repeats=REPEATS))[1])
            if rung.samples in needed
            else rung
            for rung in rungs
        ]


def _blender_pin() -> str:
    """What the peer's environment is made of."""
    return blender.REQUIREMENTS.read_text(encoding="utf-8")


def one_frame(
    spec: Spec, catalog: Catalog, frame: int, folder: Path
) -> tuple[FrameParameters, Path]:
    """A frame's parameters, exposed, and its stage."""
    parameters = pinhole(sample(spec, catalog, frame))
    stage = folder / f"frame{frame}.usda"
    write_frame_stage(SCENE / "stage.usda", parameters, stage)
    return exposed(parameters, stage), stage


def main() -> None:
    """Prints the ladders of every frame and the median ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--reference-samples", type=int, default=1024, help="of each of the two")
    parser.add_argument("--bar", type=float, default=BAR_DB, help="PSNR, dB")
    parser.add_argument(
        "--keep", type=Path, default=Path(tempfile.gettempdir()) / "cycles-references"
    )
    asked = parser.parse_args()
    width, height = (int(part) for part in asked.size.split("x"))
    raw = yaml.safe_load((SCENE / "spec.yaml").read_text())
    raw["cameras"][0] |= {"width_px": width, "height_px": height}
    spec, catalog = Spec.model_validate(raw), read_catalog(SCENE / "stage.usda")
    at_bar: list[float] = []
    at_shipped: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for frame in range(asked.frames):
            print(f"frame {frame}", flush=True)
            parameters, stage = one_frame(spec, catalog, frame, Path(folder))
            contest = Contest(
                parameters, stage, keep=asked.keep, reference_samples=asked.reference_samples
            )
            for bar, ratios in contest.ratios(asked.bar, asked.rounds).items():
                (at_bar if bar == asked.bar else at_shipped).extend(ratios)
    print(f"median ratio at {asked.bar:g} dB: {np.median(at_bar):.2f} (at least {LEAST_RATIO:g})")
    print(f"median ratio at the quality of {SHIPPED_SAMPLES} samples: {np.median(at_shipped):.2f}")


if __name__ == "__main__":
    main()
