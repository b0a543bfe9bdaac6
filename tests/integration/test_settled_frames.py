"""Dropped things through a worker: settled before it renders, alike from every worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from simcloud.dataset.record import FrameRecord, record_from_json
from simcloud.errors import InvalidRequest
from simcloud.scene.catalog import read_catalog
from simcloud.scene.translate.usd import read_scene
from simcloud.spec.canonical import canonical_json
from simcloud.spec.sample import sample
from simcloud_generator.backends.frame_scene import FrameResolver
from simcloud_generator.jobs import RenderJob, WorkerConfiguration
from simcloud_generator.pool import Recycling, WorkerPool, open_pool
from support.drops import ONE_BIN, drop_spec, drop_stage, heap

NEVER = Recycling(frames=0, rss_bytes=0)
SPEC = drop_spec(
    ONE_BIN,
    heap("bins", 6) | {"tint": [0.5, {"uniform": [0.2, 0.8]}, 1.0]},
)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drop_stage(tmp_path_factory.mktemp("drops"))


@pytest.fixture
def configuration(tmp_path: Path) -> WorkerConfiguration:
    return WorkerConfiguration(variant="scalar_rgb", threads=1, kernel_cache=tmp_path)


async def render(pool: WorkerPool, stage: Path, frame: int) -> FrameRecord:
    job = RenderJob(stage=stage, spec_json=canonical_json(SPEC), split="train", frame=frame)
    result = await pool.render(job)
    assert result.quarantine == ""
    assert result.timings_s["settle"] > 0
    (view,) = result.views
    return record_from_json(view.record)


async def test_frames_are_rendered_as_they_settled_alike_from_every_worker(
    stage: Path, configuration: WorkerConfiguration
) -> None:
    async with open_pool(workers=1, configuration=configuration, recycling=NEVER) as pool:
        first = [await render(pool, stage, frame) for frame in (0, 1)]
    async with open_pool(workers=1, configuration=configuration, recycling=NEVER) as pool:
        second = [await render(pool, stage, frame) for frame in (1, 0)]
    assert first == second[::-1]
    for record in first:
        assert record.params["objects.heap.count"] == 6 - int(
            record.params["objects.heap.dropped_out"]
        )
        items = [item for item in record.objects if item.group == "heap"]
        assert items
        for item in items:
            assert item.local2world is not None
            assert item.local2world[11] < 0.4  # height of its origin: it no longer hangs
            assert item.scale == 1.0
            assert item.tint_rgb is not None
            assert 0.2 <= item.tint_rgb[1] <= 0.8
            assert item.density_kg_m3 is not None
            assert item.friction is not None
            assert 200 <= item.density_kg_m3 <= 400
            assert 0.4 <= item.friction <= 0.8


def test_a_backend_refuses_what_still_hangs(stage: Path) -> None:
    parameters = sample(SPEC, read_catalog(stage), 0)
    with pytest.raises(InvalidRequest, match="settle it first"):
        FrameResolver(read_scene(stage)).resolve(parameters)
