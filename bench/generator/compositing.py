"""CPU seconds of a composite frame against a full one: the showroom's objects, warm, one thread.

Both ways in one process, frame by frame in turn, so that what else the machine does slows both
alike; the least of several rounds counts. See ``bench/README.md`` for how to read the result.
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
from simcloud.spec.sample import sample
from simcloud_generator.backends.base import Session
from simcloud_generator.backends.compositing.session import open_compositing
from simcloud_generator.backends.compositing.settings import CompositingSettings
from simcloud_generator.backends.mitsuba.backend import MitsubaBackend
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings

SCENE = Path(__file__).resolve().parents[2] / "scenes" / "showroom"


class Way:
    """One way to make frames of the composite spec."""

    def __init__(self, spec: Spec, session: Session, catalog: Catalog) -> None:
        self._spec = spec
        self._session = session
        self._catalog = catalog

    def cost(self, index: int) -> tuple[float, float]:
        """CPU seconds of one frame: its picture and labels alone, and all up to encoded layers."""
        begin = time.process_time()
        parameters = sample(self._spec, self._catalog, index)
        views = self._session.render(parameters, self._spec.annotators)
        rendered = time.process_time() - begin
        for view in views:
            if check_view(view.camera, view.arrays, view.objects):
                raise SystemExit(f"frame {index} breaks the rules of labels")
            for name in self._spec.annotators:
                if ANNOTATORS[name].is_layer:
                    crc64nvme(encode(view.arrays[name], self._spec.encodings[name]))
        return rendered, time.process_time() - begin


def ways(width: int, height: int, kernels: Path) -> tuple[Way, Way]:
    """The full and the composite way, of one spec but for ``renderer.mode``."""
    raw = yaml.safe_load((SCENE / "composite.yaml").read_text())
    raw["cameras"][0] |= {"width_px": width, "height_px": height}
    composite = Spec.model_validate(raw)
    full = Spec.model_validate({**raw, "renderer": {"mode": "full"}})
    stage = SCENE / "composite.usda"
    catalog = read_catalog(stage)
    renderer = full.renderer
    settings = MitsubaSettings(
        variant=renderer.variant,
        spp=renderer.samples_per_pixel,
        max_depth=renderer.max_depth,
        denoise=renderer.denoise,
        aux_spp=renderer.guide_samples,
        threads=1,
        kernel_cache=kernels,
    )
    return (
        Way(full, MitsubaBackend(settings).open(stage), catalog),
        Way(composite, open_compositing(stage, CompositingSettings()), catalog),
    )


def main() -> None:
    """Prints what both cost, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", default="640x480", help="WIDTHxHEIGHT of the picture")
    parser.add_argument("--kernels", type=Path, default=Path(tempfile.gettempdir()) / "kernels")
    arguments = parser.parse_args()
    width, height = (int(side) for side in arguments.size.split("x"))
    made = ways(width, height, arguments.kernels)
    best = np.full((2, arguments.frames, 2), np.inf)
    for round_number in range(arguments.rounds + 1):
        for index in range(arguments.frames):
            for number, way in enumerate(made):
                found = np.asarray(way.cost(index))
                if round_number > 0:  # the first one warms up
                    best[number, index] = np.minimum(best[number, index], found)
    full, composite = best.mean(axis=1)
    print("| way | picture and labels, CPU s | whole frame, CPU s |\n|---|---|---|")
    print(f"| full | {full[0]:.3f} | {full[1]:.3f} |")
    print(f"| composite | {composite[0]:.3f} | {composite[1]:.3f} |")
    print(f"composite / full: 1/{full[0] / composite[0]:.1f} and 1/{full[1] / composite[1]:.1f}")


if __name__ == "__main__":
    main()
