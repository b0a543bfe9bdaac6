"""The Mitsuba backend against the contract of all backends, and its promise of equal bits."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simcloud_generator.backends.base import RenderedView
from simcloud_generator.backends.mitsuba.backend import MitsubaBackend
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings
from simcloud_generator.backends.mitsuba.variant import usable
from support.contracts.backend import LAYERS, assert_same, views_of
from support.scenes import furnished_frame, furnished_stage

VARIANTS = ("llvm_ad_rgb", "scalar_rgb")

_CHILD = """
import sys
from pathlib import Path
from simcloud_generator.backends.mitsuba.backend import MitsubaBackend
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings
from support.contracts.backend import check_backend, views_of
from support.scenes import furnished_frame, furnished_stage
from test_backend_contract import digest

folder, variant, threads, task = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
backend = MitsubaBackend(MitsubaSettings(variant=variant, threads=threads))
if task == "contract":
    check_backend(backend, folder)
# large enough for the denoiser to share the picture out between threads
parameters = furnished_frame(size=(160, 120))
print(digest(views_of(backend, furnished_stage(folder), parameters)))
"""


def digest(views: list[RenderedView]) -> str:
    """SHA-256 over all arrays and labels."""
    total = hashlib.sha256()
    for view in views:
        for name, array in view.arrays.items():
            total.update(name.encode() + array.tobytes())
        total.update(repr(view.objects).encode())
    return total.hexdigest()


def _child(folder: Path, variant: str, *, threads: int, task: str, cpus: set[int]) -> str:
    """Renders in a process of its own that may use ``cpus`` only; returns the digest."""
    problem = usable(variant)
    if problem is not None:
        pytest.skip(f"{variant} does not run here: {problem}")
    here = Path(__file__).resolve().parent
    environment = {**os.environ, "PYTHONPATH": f"{here.parent}{os.pathsep}{here}"}
    prefix = ["taskset", "-c", ",".join(map(str, sorted(cpus)))]
    done = subprocess.run(
        [*prefix, sys.executable, "-c", _CHILD, str(folder), variant, str(threads), task],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize("variant", VARIANTS)
def test_variant_keeps_the_contract_and_draws_the_same_bits_on_one_and_two_threads(
    variant: str, tmp_path: Path
) -> None:
    cpus = os.sched_getaffinity(0)
    many = _child(tmp_path, variant, threads=2, task="contract", cpus=cpus)
    one = _child(tmp_path, variant, threads=1, task="render", cpus={min(cpus)})
    assert many == one


@pytest.fixture(scope="module")
def backend() -> MitsubaBackend:
    return MitsubaBackend(MitsubaSettings(variant="auto"))


def test_frames_do_not_depend_on_the_order_in_which_they_are_rendered(
    backend: MitsubaBackend, tmp_path: Path
) -> None:
    stage = furnished_stage(tmp_path)
    first, second = furnished_frame(seed=1), furnished_frame(seed=2, size=(33, 17))
    session = backend.open(stage)
    forward = [session.render(first, LAYERS), session.render(second, LAYERS)]
    backward = [session.render(second, LAYERS), session.render(first, LAYERS)]
    session.close()
    assert_same(forward[0], backward[1])
    assert_same(forward[1], backward[0])
    assert_same(forward[0], views_of(backend, stage, first))


def test_another_seed_gives_another_picture_and_the_same_labels(
    backend: MitsubaBackend, tmp_path: Path
) -> None:
    stage = furnished_stage(tmp_path)
    first = views_of(backend, stage, furnished_frame(seed=1))
    second = views_of(backend, stage, furnished_frame(seed=2))
    for one, other in zip(first, second, strict=True):
        assert one.objects == other.objects
        assert one.arrays["rgb"].tobytes() != other.arrays["rgb"].tobytes()
        assert (
            one.arrays["distance_to_camera"].tobytes()
            == other.arrays["distance_to_camera"].tobytes()
        )
