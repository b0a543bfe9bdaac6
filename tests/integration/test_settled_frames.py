"""Dropped things through a worker: settled before it renders, alike from every worker."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
from pxr import Usd

from simcloud.dataset.record import DistractorRecord, FrameRecord, ObjectRecord, record_from_json
from simcloud.errors import InvalidRequest
from simcloud.scene.catalog import read_catalog
from simcloud.scene.translate.usd import read_scene
from simcloud.spec.canonical import canonical_json
from simcloud.spec.model import Spec
from simcloud.spec.sample import sample
from simcloud_generator.backends.frame_scene import FrameResolver
from simcloud_generator.jobs import RenderJob, WorkerConfiguration
from simcloud_generator.pool import Recycling, WorkerPool, open_pool
from support.drops import ONE_BIN, add_box, drop_spec, drop_stage, heap
from support.scenes import add_library_asset

NEVER = Recycling(frames=0, rss_bytes=0)
JUNK = heap("bins", 2) | {"name": "junk", "scale": {"uniform": [1.2, 1.6]}}
PASSING: dict[str, object] = {
    "name": "passing",
    "assets": "die",
    "tint": [{"uniform": [0.2, 0.8]}, 1, 1],
    "motion": {"velocity_m_s": [{"uniform": [1, 2]}, 0, 0]},
    "placement": {"kind": "scatter", "x_m": 0.2, "y_m": -0.5, "yaw_deg": {"uniform": [0, 90]}},
}
NAMELESS: dict[str, object] = {
    "name": "nameless",
    "assets": "nameless",
    "placement": {"kind": "scatter", "x_m": -0.3, "y_m": 0.3, "yaw_deg": 0},
}

HEAPS = (ONE_BIN, heap("bins", 6) | {"tint": [0.5, {"uniform": [0.2, 0.8]}, 1.0]})
HIDDEN = {"distractor": True}
SPEC = drop_spec(*HEAPS, JUNK | HIDDEN, PASSING | HIDDEN, NAMELESS)
LABELLED = drop_spec(*HEAPS, JUNK, PASSING, NAMELESS)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = drop_stage(tmp_path_factory.mktemp("drops"))
    made = Usd.Stage.Open(str(path))
    add_library_asset(made, "nameless", None)
    add_box(made, "/Library/nameless/Shape", (-0.05, -0.05, 0.0), (0.05, 0.05, 0.1))
    made.Save()
    return path


async def render(pool: WorkerPool, stage: Path, frame: int, spec: Spec = SPEC) -> FrameRecord:
    job = RenderJob(stage=stage, spec_json=canonical_json(spec), split="train", frame=frame)
    result = await pool.render(job)
    assert result.quarantine == ""
    assert result.timings_s["settle"] > 0
    (view,) = result.views
    return record_from_json(view.record)


@dataclass(frozen=True)
class Records:
    first: list[FrameRecord]
    """Of one worker, frames 0 and 1."""
    second: list[FrameRecord]
    """Of another, frames 1 and 0."""
    labelled: FrameRecord
    """Frame 0 if its distractors were none."""


@pytest.fixture(scope="module")
def records(stage: Path, tmp_path_factory: pytest.TempPathFactory) -> Records:
    configuration = WorkerConfiguration(
        variant="scalar_rgb", threads=1, kernel_cache=tmp_path_factory.mktemp("kernels")
    )

    async def made() -> Records:
        async with open_pool(workers=1, configuration=configuration, recycling=NEVER) as pool:
            first = [await render(pool, stage, frame) for frame in (0, 1)]
        async with open_pool(workers=1, configuration=configuration, recycling=NEVER) as pool:
            second = [await render(pool, stage, frame) for frame in (1, 0)]
            return Records(first, second, await render(pool, stage, 0, LABELLED))

    return asyncio.run(made())


def sampled(item: ObjectRecord | DistractorRecord) -> dict[str, object]:
    """What is said of a thing whether it has a label or not."""
    return {field.name: getattr(item, field.name) for field in fields(DistractorRecord)}


def test_frames_are_rendered_as_they_settled_alike_from_every_worker(records: Records) -> None:
    first = records.first
    assert first == records.second[::-1]
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


def test_of_a_distractor_the_same_is_recorded_as_if_it_had_a_label(records: Records) -> None:
    record, labelled = records.first[0], records.labelled
    assert record.params == labelled.params
    assert {item.group for item in record.objects} == {"bins", "heap"}
    found = {item.name: sampled(item) for item in record.distractors}
    nameless = found.pop("nameless_00")  # an asset without a label: no other record tells of it
    assert [item.name for item in labelled.distractors] == ["nameless_00"]
    assert sampled(labelled.distractors[0]) == nameless
    assert nameless["asset"] == "nameless"
    assert found == {
        item.name: sampled(item) for item in labelled.objects if item.group in {"junk", "passing"}
    }
    junk, passing = found["junk_00"], found["passing_00"]
    assert junk["density_kg_m3"] == 300
    assert junk["velocity_m_s"] is passing["density_kg_m3"] is None
    assert passing["tint_rgb"]
    assert passing["velocity_m_s"]


def test_a_backend_refuses_what_still_hangs(stage: Path) -> None:
    parameters = sample(SPEC, read_catalog(stage), 0)
    with pytest.raises(InvalidRequest, match="settle it first"):
        FrameResolver(read_scene(stage)).resolve(parameters)
