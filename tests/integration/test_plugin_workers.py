"""Plug-in randomizers in the generator's spawned workers."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from simcloud.dataset.record import FrameRecord, record_from_json
from simcloud.errors import InvalidRequest, PreconditionFailed
from simcloud.spec.canonical import canonical_json
from simcloud.spec.model import Spec
from simcloud.spec.plugins import with_source_digests
from simcloud_generator.jobs import InspectJob, RenderJob, WorkerConfiguration
from simcloud_generator.pool import Recycling, WorkerPool, open_pool
from support.plugins import guide_block, importable, install
from support.scenes import furnished_stage

NEVER = Recycling(frames=0, rss_bytes=0)


def make() -> Spec:
    raw = yaml.safe_load(guide_block("plug-in spec"))
    raw["randomization"]["objects"] = [
        {"name": "parts", "assets": "crate", "placement": {"kind": "scatter", "x_m": 0, "y_m": 0}}
    ]
    placement = {"kind": "look_at", "eye": [0, -6, 4], "target": [0, 0, 0.3]}
    return Spec.model_validate(
        raw
        | {
            "scene": {"root": "stage.usda"},
            "cameras": [{"name": "main", "width_px": 48, "height_px": 36, "placement": placement}],
            "annotators": ["instance_segmentation", "bounding_box_2d_tight"],
        }
    )


async def records(pool: WorkerPool, stage: Path, spec: Spec, frames: range) -> list[FrameRecord]:
    found = []
    for frame in frames:
        job = RenderJob(stage=stage, spec_json=canonical_json(spec), split="train", frame=frame)
        result = await pool.render(job)
        assert result.quarantine == ""
        found.append(record_from_json(result.views[0].record))
    return found


async def test_workers_see_the_package_and_hold_it_to_its_source(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stage = furnished_stage(tmp_path)
    kernels = tmp_path_factory.getbasetemp().parent / "kernels"
    configuration = WorkerConfiguration(variant="auto", threads=1, kernel_cache=kernels)
    packages = tmp_path / "packages"
    packages.mkdir()
    with importable(install(packages)):
        spec = with_source_digests(make())
        async with open_pool(workers=1, configuration=configuration, recycling=NEVER) as pool:
            inspected = await pool.inspect(InspectJob(stage=stage, spec_json=canonical_json(spec)))
            assert inspected.problems == ()
            for record in await records(pool, stage, spec, range(3)):
                count = record.params["plugin.circle.count"]
                cans = [item for item in record.objects if item.label == "can"]
                assert len(cans) == count
                assert {item.name for item in record.objects} >= {"ring_0"}
            raw = spec.model_dump(mode="json")
            raw["randomization"]["plugins"][0]["settings"]["most"] = 0
            wrong = canonical_json(Spec.model_validate(raw))
            inspected = await pool.inspect(InspectJob(stage=stage, spec_json=wrong))
            assert [field for field, _ in inspected.problems] == [
                "randomization.plugins[circle].settings.most"
            ]
            raw["randomization"]["plugins"][0]["settings"] |= {"most": 2, "asset": "gone"}
            placing = RenderJob(
                stage=stage,
                spec_json=canonical_json(Spec.model_validate(raw)),
                split="train",
                frame=0,
            )
            with pytest.raises(InvalidRequest) as caught:
                await pool.render(placing)
            assert "objects[ring_0] is of the plug-in circle (randomizer " in caught.value.problem
            assert "ring_0: the scene has no gone; it has can, crate" in caught.value.problem
        install(packages, guide_block("plug-in source") + "\n# a later version\n")
        async with open_pool(workers=1, configuration=configuration, recycling=NEVER) as pool:
            with pytest.raises(PreconditionFailed, match="start a new run"):
                await pool.inspect(InspectJob(stage=stage, spec_json=canonical_json(spec)))
