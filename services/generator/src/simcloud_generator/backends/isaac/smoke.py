"""What to run first on a machine with an RT GPU: `make isaac-smoke`.

Renders frames of a spec with Isaac Sim, makes the CPU backend's labels of the same frames beside
them, and compares the two. Exit code 0: everything is within its tolerance; 1: something is not;
2: Isaac Sim can't run here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from simcloud.errors import SimcloudError
from simcloud.gpu import list_gpus
from simcloud.spec.model import Spec
from simcloud.spec.parameters import FrameParameters
from simcloud_generator.backends.isaac import comparison, rows
from simcloud_generator.backends.isaac.application import start
from simcloud_generator.backends.isaac.backend import IsaacBackend, IsaacSession
from simcloud_generator.backends.isaac.capture import LABELS
from simcloud_generator.backends.isaac.comparison import Result
from simcloud_generator.backends.isaac.hardware import check_hardware, must_pass
from simcloud_generator.backends.isaac.preflight import look_for_assets, try_frame
from simcloud_generator.backends.isaac.settings import load_isaac_settings
from simcloud_generator.backends.labelling import label_arrays, object_labels
from simcloud_generator.jobs import Preflight

OK, DIFFERENT, CANNOT_RUN = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Arguments:
    """What the command line says."""

    spec: Path
    frames: int
    width: int
    height: int


def main(argv: Sequence[str]) -> int:
    """Runs the check; returns the exit code."""
    arguments = _arguments(argv)
    settings = load_isaac_settings("isaac-smoke")
    checks = check_hardware(settings, list_gpus())
    _say_checks(checks)
    if must_pass(checks):
        return CANNOT_RUN
    try:
        application = start(settings, settings.gpus[0])
    except (SimcloudError, ImportError) as error:
        _say(f"FAIL start         {error}")
        return CANNOT_RUN
    _say(f"ok   start         Isaac Sim {application.version}, the recorded API")
    code = DIFFERENT
    try:
        code = _check(IsaacBackend(application, settings), arguments)
    except SimcloudError as error:
        _say(f"FAIL {error}")
    finally:
        sys.stdout.flush()
        application.close(code)  # ends the process on a real Isaac Sim
    return code


def _check(backend: IsaacBackend, arguments: Arguments) -> int:
    tried = try_frame(backend)
    _say_checks([look_for_assets(backend.settings), tried])
    if not tried.ok:
        return DIFFERENT
    results = comparison.worst(compare_spec(backend, arguments))
    _say(comparison.table(results))
    failed = [result for result in results if not result.ok]
    _say(f"{len(results) - len(failed)} of {len(results)} within their tolerance")
    return DIFFERENT if failed else OK


def compare_spec(backend: IsaacBackend, arguments: Arguments) -> list[Result]:
    """Compares the first frames of a spec; the spec's stage lies beside it."""
    from simcloud.scene.catalog import read_catalog
    from simcloud.spec.sample import sample
    from simcloud_generator.settling.settler import Settler, drops_something

    raw = yaml.safe_load(arguments.spec.read_text(encoding="utf-8"))
    for camera in raw["cameras"]:
        camera |= {"width_px": arguments.width, "height_px": arguments.height}
    spec = Spec.model_validate(raw)
    stage = arguments.spec.parent / spec.scene.root
    session = backend.open(stage, samples_per_pixel=spec.renderer.samples_per_pixel)
    try:
        for problem in session.unsupported:
            _say(f"note {problem}")
        catalog = read_catalog(stage)
        settler = Settler(stage) if drops_something(spec) else None
        frames = [sample(spec, catalog, index) for index in range(max(2, arguments.frames))]
        if settler is not None:
            frames = [settler.settle(parameters) for parameters in frames]
        results = [item for parameters in frames for item in compare_frame(session, parameters)]
        return results + _compare_twice(session, frames[0], frames[1])
    finally:
        session.close()


def compare_frame(session: IsaacSession, parameters: FrameParameters) -> list[Result]:
    """All views of one frame, rendered once, against the CPU's labels."""
    views = session.render(parameters, ("rgb", "normals"))
    names = (*LABELS, "bounding_box_2d_tight_fast")
    frame, raws = session.capture(parameters, names, {})
    results = []
    for view, raw in zip(views, raws, strict=True):
        trace = session.traced(frame, view.camera)
        arrays = label_arrays(frame, view.camera, trace)
        objects = object_labels(frame, view.camera, trace, arrays)
        camera = rows.camera(raw["camera_params"])
        results += comparison.compare_arrays(view.arrays, arrays)
        results += comparison.compare_objects(view.objects, objects)
        results += comparison.compare_camera(camera, view.camera)
        results += comparison.compare_raw_boxes(
            rows.boxes_2d(raw["bounding_box_2d_tight_fast"], "bounding_box_2d_tight_fast"),
            rows.boxes_3d(raw["bounding_box_3d_fast"]),
            view.objects,
            camera.metres_per_unit,
        )
    return results


def _compare_twice(
    session: IsaacSession, first: FrameParameters, between: FrameParameters
) -> list[Result]:
    one = session.render(first, ("rgb",))
    session.render(between, ("rgb",))
    two = session.render(first, ("rgb",))
    results = []
    for before, after in zip(one, two, strict=True):
        results += comparison.compare_pictures(before.arrays["rgb"], after.arrays["rgb"])
    return results


def _arguments(argv: Sequence[str]) -> Arguments:
    parser = argparse.ArgumentParser(prog="isaac-smoke", description=__doc__)
    parser.add_argument("spec", type=Path, help="a spec with its stage beside it")
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    found = parser.parse_args(list(argv))
    return Arguments(found.spec, found.frames, found.width, found.height)


def _say_checks(checks: Sequence[Preflight]) -> None:
    for check in checks:
        _say(f"{'ok  ' if check.ok else 'FAIL'} {check.name:<13} {check.detail}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()  # Isaac's fast shutdown writes nothing that is left


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
