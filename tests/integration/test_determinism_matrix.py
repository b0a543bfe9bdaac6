"""Frames are pure, whatever the machine does around them: environment, CPUs, caches, LLVM, sizes.

Workers, threads, order and restarts are varied in ``test_generator_frames.py``; here each process
around the frame is made as different as one machine allows, one thing at a time.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from simcloud.dataset.encode import decode
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.record import record_from_json
from simcloud.scene.catalog import read_catalog
from simcloud.spec.canonical import canonical_json
from simcloud.spec.model import Spec
from simcloud.spec.sample import sample
from simcloud_generator.backends.mitsuba.variant import LIBRARY_FOLDERS, MIN_LLVM, find_llvm
from simcloud_generator.jobs import FrameResult, RenderJob, WorkerConfiguration, WorkerIdentity
from simcloud_generator.pool import Recycling, open_pool

SCENE = Path(__file__).parents[2] / "scenes" / "showroom"
NEVER = Recycling(frames=0, rss_bytes=0)
FRAME = 5
LABELS = ("distance_to_camera", "semantic_segmentation", "instance_segmentation")


def showroom(width: int = 48, height: int = 36) -> Spec:
    raw = yaml.safe_load((SCENE / "spec.yaml").read_text())
    raw["cameras"][0] |= {"width_px": width, "height_px": height}
    return Spec.model_validate(raw)


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp().parent / "kernels"


async def made(
    spec: Spec, kernels: Path, *, threads: int = 1, variant: str = "auto"
) -> tuple[FrameResult, WorkerIdentity]:
    """The frame, from a worker process that inherits the environment as it is now."""
    configuration = WorkerConfiguration(variant=variant, threads=threads, kernel_cache=kernels)
    async with open_pool(workers=1, configuration=configuration, recycling=NEVER) as pool:
        job = RenderJob(
            stage=SCENE / "stage.usda",
            spec_json=canonical_json(spec),
            split="train",
            frame=FRAME,
        )
        return await pool.render(job), pool.identity


def contents(result: FrameResult) -> list[tuple[bytes, list[bytes]]]:
    return [(view.record, [layer.data for layer in view.layers]) for view in result.views]


def layers(view: EncodedFrame, names: tuple[str, ...]) -> list[bytes]:
    return [layer.data for layer in view.layers if layer.annotator in names]


def other_llvms() -> list[Path]:
    """Libraries that would do and are not the one that is taken."""
    found = find_llvm()
    taken = None if found is None else found[1]
    versions = {
        path: int(path.name.split(".")[2])
        for folder in LIBRARY_FOLDERS
        for path in sorted(Path(folder).glob("libLLVM.so.*"))
    }
    return [path for path, version in versions.items() if MIN_LLVM <= version != taken]


async def test_a_frame_does_not_depend_on_environment_cpus_or_a_cold_kernel_cache(
    kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = showroom()
    plain, _ = await made(spec, kernels)
    assert plain.quarantine == ""
    for name, value in {
        "PYTHONHASHSEED": "4711",
        "TZ": "Asia/Kolkata",
        "LC_ALL": "C",
        "OMP_NUM_THREADS": "3",
        "PXR_WORK_THREAD_LIMIT": "1",
        "MALLOC_PERTURB_": "170",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        elsewhere, _ = await made(spec, tmp_path / "cold", threads=2)
    finally:
        os.sched_setaffinity(0, allowed)
    assert contents(elsewhere) == contents(plain)


@pytest.mark.parametrize(("width", "height"), [(33, 17), (48, 64)])
async def test_frames_of_every_size_are_alike_over_threads_and_show_the_same_scene(
    width: int, height: int, kernels: Path
) -> None:
    spec = showroom(width, height)
    one, _ = await made(spec, kernels, threads=1)
    other, _ = await made(spec, kernels, threads=2)
    assert contents(one) == contents(other)
    (view,) = one.views
    mine = record_from_json(view.record)
    scene = sample(spec, read_catalog(SCENE / "stage.usda"), FRAME)
    usual = sample(showroom(), read_catalog(SCENE / "stage.usda"), FRAME)
    assert mine.params == scene.values == usual.values
    assert scene.objects == usual.objects


async def test_labels_do_not_depend_on_the_variant_that_makes_the_picture(kernels: Path) -> None:
    spec = showroom()
    auto, first = await made(spec, kernels)
    scalar, second = await made(spec, kernels, variant="scalar_rgb")
    if first.variant == "scalar_rgb":
        pytest.skip("only one variant runs here")
    assert layers(auto.views[0], LABELS) == layers(scalar.views[0], LABELS)
    assert first.fingerprint != second.fingerprint
    before, after = record_from_json(auto.views[0].record), record_from_json(scalar.views[0].record)
    assert before.objects == after.objects
    assert before.params == after.params


async def test_another_llvm_has_another_fingerprint_and_makes_the_same_labels(
    kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = other_llvms()
    if not others:
        pytest.skip(f"only one LLVM >= {MIN_LLVM} is installed here")
    spec = showroom()
    base, first = await made(spec, kernels)
    monkeypatch.setenv("DRJIT_LIBLLVM_PATH", str(others[0]))
    other, second = await made(spec, tmp_path / "kernels")
    assert first.fingerprint != second.fingerprint
    assert layers(base.views[0], LABELS) == layers(other.views[0], LABELS)
    pictures = [
        decode(layer.data, spec.encodings["rgb"]).astype(np.int64)
        for result in (base, other)
        for layer in result.views[0].layers
        if layer.annotator == "rgb"
    ]
    # Pixels may differ, which is why the fingerprint does; not by more than rounding can.
    assert np.abs(pictures[0] - pictures[1]).max() <= 2
