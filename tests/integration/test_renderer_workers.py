"""The pool's workers over their life: hangs, recycling, kernels, what is found out once for all."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from simcloud.spec.canonical import canonical_json
from simcloud.spec.model import Spec
from simcloud.telemetry.metrics import REGISTRY
from simcloud_generator.backends.mitsuba import variant
from simcloud_generator.jobs import InspectJob, RenderJob, WorkerConfiguration
from simcloud_generator.pool import Recycling, WorkerPool, open_pool
from simcloud_generator.renderers import try_variants
from simcloud_generator.shard_run import make_frame
from support.isaac import small_spec
from support.scenes import furnished_stage

NEVER = Recycling(frames=0, rss_bytes=0)
HANG_S = 8.0
"""Far more than a small frame takes on a busy machine, far less than a frame of minutes."""


@pytest.fixture
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp().parent / "kernels"


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    return furnished_stage(tmp_path)


def small(**renderer: object) -> Spec:
    raw = small_spec().model_dump(mode="json")
    raw["renderer"] = {"backend": "mitsuba", "samples_per_pixel": 1, "denoise": False, **renderer}
    return Spec.model_validate(raw)


def job(stage: Path, spec: Spec, frame: int) -> RenderJob:
    return RenderJob(stage=stage, spec_json=canonical_json(spec), split="train", frame=frame)


def lost(cause: str) -> float:
    labels = {"cause": cause}
    return REGISTRY.get_sample_value("simcloud_generator_lost_workers_total", labels) or 0.0


def kernels_got(source: str) -> float:
    labels = {"worker": "0", "source": source}
    return REGISTRY.get_sample_value("simcloud_generator_kernels_total", labels) or 0.0


def only_worker() -> int:
    (worker,) = multiprocessing.active_children()
    assert worker.pid is not None
    return worker.pid


async def test_worker_that_hangs_is_replaced_and_a_frame_that_hangs_two_is_quarantined(
    stage: Path, kernels: Path
) -> None:
    configuration = WorkerConfiguration(variant="scalar_rgb", threads=1, kernel_cache=kernels)
    before = lost("hung")
    async with open_pool(
        workers=1, configuration=configuration, recycling=NEVER, frame_timeout_s=HANG_S
    ) as pool:
        stopped = only_worker()
        os.kill(stopped, signal.SIGSTOP)
        made = await make_frame(pool, job(stage, small(), 0))
        assert (made.frame, made.quarantine) == (0, "")
        assert only_worker() != stopped
        assert lost("hung") == before + 1

        endless = small(samples_per_pixel=1024)
        raw = endless.model_dump(mode="json")
        raw["cameras"][0] |= {"width_px": 2048, "height_px": 2048}
        kept = await make_frame(pool, job(stage, Spec.model_validate(raw), 1))
        assert (kept.frame, kept.quarantine_rule) == (1, "render")
        assert kept.quarantine.count("took more than 8 s (frame_timeout_s)") == 2
        assert [view.layers for view in kept.views] == [()]
        assert lost("hung") == before + 3


async def pids(pool: WorkerPool, stage: Path, frames: int) -> list[int]:
    """The process that made each frame."""
    spec = small()
    before = {child.pid for child in multiprocessing.active_children()}
    assert len(before) == 1
    found = []
    for frame in range(frames):
        # as an inspection recycles nothing, the worker it fills the place with makes the frame
        await pool.inspect(InspectJob(stage=stage, spec_json=canonical_json(spec)))
        found.append(only_worker())
        assert (await pool.render(job(stage, spec, frame))).rss_bytes > 1024 * 1024
    return found


@pytest.mark.parametrize(
    ("recycling", "same"),
    [
        (Recycling(frames=2, rss_bytes=0), [True, False]),
        (Recycling(frames=0, rss_bytes=1), [False]),
    ],
    ids=["frames", "memory"],
)
async def test_worker_is_replaced_by_frames_and_by_memory(
    recycling: Recycling, same: list[bool], stage: Path, kernels: Path
) -> None:
    configuration = WorkerConfiguration(variant="scalar_rgb", threads=1, kernel_cache=kernels)
    async with open_pool(workers=1, configuration=configuration, recycling=recycling) as pool:
        made_by = await pids(pool, stage, len(same) + 1)
    assert [one == other for one, other in itertools.pairwise(made_by)] == same


def test_worker_that_is_large_or_old_enough_is_due() -> None:
    limits = Recycling(frames=10, rss_bytes=1000)
    assert [limits.is_due(*given) for given in ((9, 1000), (10, 0), (1, 1001))] == [
        False,
        True,
        True,
    ]
    assert not NEVER.is_due(10**9, 10**12)


@pytest.mark.skipif(variant.usable("llvm_ad_rgb") is not None, reason="only LLVM compiles kernels")
async def test_kernels_are_counted_as_compiled_once_and_as_cached_by_the_next_worker(
    stage: Path, tmp_path: Path
) -> None:
    configuration = WorkerConfiguration(
        variant="llvm_ad_rgb", threads=1, kernel_cache=tmp_path / "cold"
    )
    often = Recycling(frames=2, rss_bytes=0)
    before = {source: kernels_got(source) for source in ("compiled", "cached")}
    async with open_pool(workers=1, configuration=configuration, recycling=often) as pool:
        made = [await pool.render(job(stage, small(), frame)) for frame in range(3)]
    first, second, fresh = (each.kernels for each in made)
    assert first.compiled > 0
    assert second.compiled == 0
    assert fresh.compiled == 0
    assert fresh.cached > 0
    for source, counted in before.items():
        total = sum(getattr(each.kernels, source) for each in made)
        assert kernels_got(source) == counted + total


def test_llvm_is_tried_once_for_all_workers_and_remembered_beside_the_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def count(name: str, library: str) -> str | None:
        tried.append(name)
        return None if name == "llvm_ad_rgb" else f"{library} does not"

    library = tmp_path / "libLLVM.so.19.1"
    library.touch()
    monkeypatch.setattr(variant, "_verdicts", {})
    monkeypatch.setattr(variant, "_tried", count)
    monkeypatch.setenv("DRJIT_LIBLLVM_PATH", str(library))
    given = WorkerConfiguration(variant="auto", threads=1, kernel_cache=tmp_path / "kernels")
    (verdict,) = try_variants(given).verdicts
    assert (verdict.variant, verdict.library, verdict.problem) == (
        "llvm_ad_rgb",
        str(library),
        None,
    )
    assert try_variants(given).verdicts == (verdict,)
    assert tried == ["llvm_ad_rgb"]

    variant._verdicts.clear()  # another process
    assert try_variants(given).verdicts == (verdict,)
    assert tried == ["llvm_ad_rgb"]

    variant._verdicts.clear()
    os.utime(library, ns=(0, 0))  # another library by the same name
    try_variants(given)
    assert tried == ["llvm_ad_rgb"] * 2

    variant._verdicts.clear()
    variant.adopt([verdict])  # a worker
    assert variant.choose_variant("auto") == "llvm_ad_rgb"
    assert tried == ["llvm_ad_rgb"] * 2
