"""The Isaac backend within the generator's worker processes: hangs, signals, GPUs, selection."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from simcloud.client.generator import GeneratorClient
from simcloud.dataset.record import record_from_json
from simcloud.errors import PreconditionFailed
from simcloud.rpc.channel import connect
from simcloud.s3.objects import ObjectStore
from simcloud.scene.apart import inspect_apart
from simcloud.scene.bundle import make_bundle
from simcloud.scene.store import put_bundle
from simcloud.spec.canonical import canonical_json
from simcloud.spec.model import Renderer, Spec
from simcloud.telemetry.metrics import REGISTRY
from simcloud_generator.backends.isaac.settings import IsaacSettings
from simcloud_generator.jobs import RenderJob, WorkerConfiguration
from simcloud_generator.pool import Recycling, open_pool
from simcloud_generator.renderers import choose_backend, open_renderers
from simcloud_generator.serving import running_generator
from simcloud_generator.settings import GeneratorSettings
from support.eventually import eventually
from support.isaac import QUICK, isaac_installed, small_spec
from support.recorded_api import uninstall
from support.replicator_fake import running
from support.s3_server import S3Server
from support.scenes import furnished_stage

NEVER = Recycling(frames=0, rss_bytes=0)


def job(stage: Path, frame: int) -> RenderJob:
    return RenderJob(
        stage=stage, spec_json=canonical_json(small_spec()), split="train", frame=frame
    )


def configuration(tmp_path: Path, settings: IsaacSettings = QUICK) -> WorkerConfiguration:
    return WorkerConfiguration(
        variant="auto", threads=1, kernel_cache=tmp_path, backend="isaac", isaac=settings
    )


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    return furnished_stage(tmp_path)


async def test_capture_that_hangs_ends_its_process_and_the_next_one_makes_the_frame(
    tmp_path: Path, stage: Path
) -> None:
    marker = tmp_path / "hung"
    settings = QUICK.model_copy(update={"step_timeout_s": 6.0})
    with isaac_installed(tmp_path, faults=f"hang={marker}"):
        async with open_pool(
            workers=1, configuration=configuration(tmp_path, settings), recycling=NEVER
        ) as pool:
            assert pool.identity.backend == "isaac"
            assert pool.identity.variant == "RealTimePathTracing"
            assert pool.identity.stochastic
            assert [check.name for check in pool.identity.preflight] == [
                "asset_root",
                "test_frame",
            ]
            first = multiprocessing.active_children()
            result = await pool.render(job(stage, 0))
            assert marker.exists()
            assert result.quarantine == ""
            assert [view.camera for view in result.views] == ["main"]
            assert not set(multiprocessing.active_children()) & set(first)


async def test_sigterm_lets_the_frame_finish_and_isaac_close(
    tmp_path: Path, stage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    monkeypatch.setenv("SIMCLOUD_TEST_ISAAC_CLOSED", str(closed))
    with isaac_installed(tmp_path):
        async with open_pool(
            workers=1, configuration=configuration(tmp_path), recycling=NEVER
        ) as pool:
            (worker,) = multiprocessing.active_children()
            assert worker.pid is not None
            frame = asyncio.ensure_future(pool.render(job(stage, 0)))
            await eventually(lambda: REGISTRY.get_sample_value("simcloud_generator_workers_busy"))
            os.kill(worker.pid, signal.SIGTERM)
            assert (await frame).quarantine == ""
            # Its name is in it a moment after the file is there.
            await eventually(lambda: closed.exists() and closed.read_text())
            assert closed.read_text() == str(worker.pid)
            # the place is filled again for the next frame
            assert (await pool.render(job(stage, 1))).frame == 1


@pytest.fixture
def in_process(tmp_path: Path) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with isaac_installed(tmp_path):
        yield
    for number, handler in before.items():
        signal.signal(number, handler)
    uninstall()
    running.clear()


@pytest.mark.usefixtures("in_process")
def test_each_place_of_the_pool_has_a_gpu_of_its_own_and_refuses_other_renderers(
    tmp_path: Path, stage: Path
) -> None:
    settings = QUICK.model_copy(update={"gpus": (0, 1)})
    given = configuration(tmp_path, settings)
    renderers = open_renderers(replace(given, place=1))
    assert running[-1].config["active_gpu"] == 1
    versions = renderers.identity().fingerprint_json
    assert '"gpu":"NVIDIA L40S"' in versions
    assert '"nvidia-driver":"580.95.05"' in versions
    assert '"isaacsim":"6.0.1-rc.7"' in versions
    with pytest.raises(PreconditionFailed, match="wants mitsuba/auto"):
        renderers.open(Renderer(backend="mitsuba"), stage)
    with pytest.raises(PreconditionFailed, match="wants isaac/PathTracing"):
        renderers.open(Renderer(backend="isaac", variant="PathTracing"), stage)


def test_cpu_generator_refuses_a_spec_that_asks_for_isaac(tmp_path: Path, stage: Path) -> None:
    # A process holds one variant of Mitsuba: the one that the other tests of this process take.
    given = WorkerConfiguration(variant="auto", threads=1, kernel_cache=tmp_path)
    renderers = open_renderers(given)
    renders = f"this worker renders with mitsuba/{renderers.identity().variant}"
    with pytest.raises(PreconditionFailed, match=renders):
        renderers.open(Renderer(backend="isaac"), stage)


def test_isaac_is_chosen_only_where_it_is_installed_and_fit(tmp_path: Path) -> None:
    settings = IsaacSettings()
    assert choose_backend("auto", settings).backend == "mitsuba"
    with pytest.raises(PreconditionFailed, match="no isaacsim"):
        choose_backend("isaac", settings)
    with isaac_installed(tmp_path):
        assert choose_backend("mitsuba", settings).backend == "mitsuba"
        for wanted in ("auto", "isaac"):
            choice = choose_backend(wanted, settings)
            assert choice.backend == "isaac"
            assert all(check.ok for check in choice.preflight)
    with isaac_installed(tmp_path, gpus=["0, NVIDIA H200, 580.95.05, 143771"]):
        choice = choose_backend("auto", settings)
        assert choice.backend == "mitsuba"
        assert [check.name for check in choice.preflight if not check.ok] == ["rt_cores_0"]
        with pytest.raises(PreconditionFailed, match="no RT cores") as caught:
            choose_backend("isaac", settings)
        assert caught.value.violations[0].subject == "rt_cores_0"
    with isaac_installed(tmp_path, gpus=[]), pytest.raises(PreconditionFailed, match="no GPU 0"):
        choose_backend("isaac", settings)
    assert "isaacsim" not in sys.modules


def test_worker_imports_no_usd_and_no_renderer_before_the_application_starts() -> None:
    code = (
        "import sys, simcloud_generator.worker, simcloud_generator.backends.isaac.renderers\n"
        "tops = {name.split('.')[0] for name in sys.modules}\n"
        "print(sorted(tops & {'pxr', 'omni', 'mitsuba', 'drjit'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_generator_with_isaac_says_so_renders_and_refuses_other_renderers(
    s3_server: S3Server, store: ObjectStore, bucket: str, tmp_path: Path, stage: Path
) -> None:
    bundle = make_bundle(stage)
    await put_bundle(store, bundle, bucket=bucket, prefix="")
    raw = small_spec().model_dump(mode="json")
    raw["scene"] = {"root": bundle.stage, "digest": bundle.digest}
    settings = GeneratorSettings(
        s3=s3_server.settings, cache_dir=tmp_path / "cache", backend="auto", isaac=QUICK
    )
    with isaac_installed(tmp_path):
        async with running_generator(settings) as (_, server), connect(server.address) as channel:
            client = GeneratorClient(channel)
            told = await client.describe()
            (backend,) = told.backends
            assert (backend.name, backend.variants) == ("isaac", ("RealTimePathTracing",))
            assert backend.stochastic
            assert told.workers == 1, "one for each GPU"
            checks = {check.name: check.ok for check in backend.preflight}
            assert checks == dict.fromkeys(
                ("rt_cores_0", "driver_0", "memory_0", "caches", "asset_root", "test_frame"), True
            )
            (frame,) = await client.preview(
                Spec.model_validate(raw), bucket=bucket, prefix="", frame=3
            )
            assert {layer.annotator for layer in frame.layers} == {"rgb", "instance_segmentation"}
            record = record_from_json(frame.record)
            assert record.quarantine is None
            assert {item.label for item in record.objects} == {"can", "floor"}
            raw["renderer"] = {"backend": "mitsuba"}
            with pytest.raises(PreconditionFailed, match="this generator renders with isaac"):
                await client.preview(Spec.model_validate(raw), bucket=bucket, prefix="", frame=0)


async def test_scenes_are_looked_at_with_a_usd_of_their_own_where_one_is_named(
    tmp_path: Path, stage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "usd" / "pxr"
    own.mkdir(parents=True)
    (own / "__init__.py").write_text("raise ImportError('this one is broken')")
    assert (await inspect_apart(stage)).problems == ()
    monkeypatch.setenv("SIMCLOUD_USD_PATH", str(own.parent))
    assert (await inspect_apart(stage)).problems != ()


async def test_process_whose_data_are_of_another_frame_is_replaced_for_the_next_one(
    tmp_path: Path, stage: Path
) -> None:
    with isaac_installed(tmp_path, faults="frozen"):
        async with open_pool(
            workers=1, configuration=configuration(tmp_path), recycling=NEVER
        ) as pool:
            first = {child.pid for child in multiprocessing.active_children()}
            for frame in range(2):  # the first process only captures one
                assert (await pool.render(job(stage, frame))).quarantine == ""
            assert not first & {child.pid for child in multiprocessing.active_children()}
