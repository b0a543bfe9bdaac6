"""Frames are pure: the same bytes from any number of workers, in any order, after any restart."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from simcloud.annotators import ANNOTATORS
from simcloud.dataset.encode import decode
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.record import record_from_json
from simcloud.s3.checksums import crc64nvme
from simcloud.spec.canonical import canonical_json
from simcloud.spec.model import Spec
from simcloud_generator.jobs import InspectJob, RenderJob, WorkerConfiguration
from simcloud_generator.pool import Recycling, WorkerPool, open_pool

SCENE = Path(__file__).parents[2] / "scenes" / "showroom"
NEVER = Recycling(frames=0, rss_bytes=0)
FRAMES = range(4)


def showroom(**changes: object) -> Spec:
    """The demo's spec with a small picture."""
    raw = yaml.safe_load((SCENE / "spec.yaml").read_text())
    raw["cameras"][0] |= {"width_px": 64, "height_px": 48}
    return Spec.model_validate(raw | changes)


def job(spec: Spec, frame: int) -> RenderJob:
    return RenderJob(
        stage=SCENE / "stage.usda", spec_json=canonical_json(spec), split="train", frame=frame
    )


def digest(views: Iterable[EncodedFrame]) -> str:
    whole = hashlib.sha256()
    for view in views:
        whole.update(view.record)
        for layer in view.layers:
            whole.update(layer.data)
    return whole.hexdigest()


async def digests(pool: WorkerPool, spec: Spec, frames: Iterable[int]) -> dict[int, str]:
    async with asyncio.TaskGroup() as group:
        tasks = {frame: group.create_task(pool.render(job(spec, frame))) for frame in frames}
    return {frame: digest(task.result().views) for frame, task in tasks.items()}


@pytest.fixture
def configuration(tmp_path_factory: pytest.TempPathFactory) -> WorkerConfiguration:
    kernels = tmp_path_factory.getbasetemp().parent / "kernels"
    return WorkerConfiguration(variant="auto", threads=1, kernel_cache=kernels)


async def test_frames_are_alike_from_one_worker_and_from_three_in_another_order_after_a_restart(
    configuration: WorkerConfiguration,
) -> None:
    spec = showroom()
    async with open_pool(workers=1, configuration=configuration, recycling=NEVER) as pool:
        alone = await digests(pool, spec, FRAMES)
    assert len(set(alone.values())) == len(FRAMES)
    threads = replace(configuration, threads=2)
    often = Recycling(frames=1, rss_bytes=0)
    async with open_pool(workers=3, configuration=threads, recycling=often) as pool:
        assert await digests(pool, spec, reversed(FRAMES)) == alone


async def test_every_annotator_is_stored_as_the_table_says(
    configuration: WorkerConfiguration,
) -> None:
    spec = showroom(annotators=list(ANNOTATORS))
    async with open_pool(workers=1, configuration=configuration, recycling=NEVER) as pool:
        result = await pool.render(job(spec, 1))
    (view,) = result.views
    record = record_from_json(view.record)
    assert result.quarantine == ""
    assert [layer.annotator for layer in view.layers] == [
        name for name in ANNOTATORS if ANNOTATORS[name].is_layer
    ]
    for layer, row in zip(view.layers, record.layers, strict=True):
        assert (row.annotator, row.size_bytes) == (layer.annotator, len(layer.data))
        assert int(row.crc64nvme, 16) == layer.crc64nvme == crc64nvme(layer.data)
        array = decode(layer.data, spec.encodings[layer.annotator])
        if layer.annotator != "pointcloud":
            assert array.shape[:2] == (48, 64)
            assert str(array.dtype) == ANNOTATORS[layer.annotator].dtype
    assert {"couch", "chair", "floor", "wall"} <= set(record.id_to_label.values())
    assert record.view.fx_px == pytest.approx(record.view.fy_px)
    assert record.objects
    assert set(record.params) >= {"camera.main.eye.x", "objects.chairs.count", "material.floor"}


async def test_a_frame_that_kills_its_renderer_is_tried_again_by_a_fresh_one(
    configuration: WorkerConfiguration,
) -> None:
    import multiprocessing
    import os
    import signal

    spec = showroom()
    async with open_pool(workers=1, configuration=configuration, recycling=NEVER) as pool:
        before = digest((await pool.render(job(spec, 3))).views)
        (worker,) = multiprocessing.active_children()
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        assert digest((await pool.render(job(spec, 3))).views) == before


async def test_a_spec_that_does_not_fit_its_scene_is_told_everything_that_is_wrong(
    configuration: WorkerConfiguration,
) -> None:
    raw = showroom().model_dump(mode="json")
    raw["randomization"]["objects"][0]["assets"] = "flying_carpet"
    raw["randomization"]["dome"]["environments"] = {"choice": ["mars"]}
    spec = Spec.model_validate(raw)
    async with open_pool(workers=1, configuration=configuration, recycling=NEVER) as pool:
        report = await pool.inspect(
            InspectJob(stage=SCENE / "stage.usda", spec_json=canonical_json(spec))
        )
        assert [field for field, _ in report.problems] == [
            "randomization.dome.environments",
            "randomization.objects[0].assets",
        ]
        assert "rug_border" in report.problems[1][1]
        good = await pool.inspect(
            InspectJob(stage=SCENE / "stage.usda", spec_json=canonical_json(showroom()))
        )
        assert good.problems == ()
