"""A scene whose labels truly go wrong: what is quarantined is told by rule, from end to end.

The cause is real: of a stage in geographic coordinates, a thousand kilometres from its origin,
single precision leaves rays that miss their boxes by centimetres.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from simcloud.client.generation import GenerateTotals, ShardMoved
from simcloud.client.uploader import RunState
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.manifest import load_manifest
from simcloud.labels.rules import RULES
from simcloud.s3.objects import ObjectStore
from simcloud.scene.bundle import make_bundle
from simcloud.scene.store import put_bundle
from simcloud.spec.model import Spec
from simcloud.spec.plan import Plan
from simcloud.telemetry.metrics import value_of
from simcloud.telemetry.names import Metric
from support import scenes
from support.generating import resolved, running_pair
from support.s3_server import S3Server

FAR_M = 1_000_000
PLAN = Plan(frames=6, frames_per_shard=3)


def far_stage(folder: Path) -> Path:
    """A labelled cube at the origin, and one a thousand kilometres away."""
    from pxr import Gf, UsdGeom

    stage = scenes.new_stage()
    scenes.add_cube(stage, "/World/Near", size=1.0, label="box")
    cube = scenes.add_cube(stage, "/World/Far", size=1.0, label="box")
    UsdGeom.XformCommonAPI(cube).SetTranslate(Gf.Vec3d(FAR_M, 0.0, 0.0))
    return scenes.save(stage, folder)


def far_spec(stage: str, digest: str) -> Spec:
    """Looks at one of the cubes, whichever is drawn."""
    return Spec.model_validate(
        {
            "seed": 5,
            "scene": {"root": stage, "digest": digest},
            "annotators": ["distance_to_camera", "instance_segmentation"],
            "cameras": [
                {
                    "name": "main",
                    "width_px": 48,
                    "height_px": 36,
                    "placement": {
                        "kind": "orbit",
                        "target": [{"choice": [0, FAR_M]}, 0, 0],
                        "distance_m": {"uniform": [3, 4]},
                        "azimuth_deg": {"uniform": [10, 80]},
                        "elevation_deg": {"uniform": [10, 50]},
                    },
                }
            ],
        }
    )


def metric(rule: str) -> float:
    name = "simcloud_generator_quarantined_frames"
    counted = Metric(name=name, kind="counter", help="Frames by rule.", labels=("rule",))
    return value_of(counted, {"rule": rule})


@pytest.mark.timeout(180)
async def test_quarantine_is_counted_by_rule_in_stream_metric_run_and_manifest(
    s3_server: S3Server,
    store: ObjectStore,
    bucket: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    bundle = make_bundle(far_stage(tmp_path))
    await put_bundle(store, bundle, bucket=bucket, prefix="")
    location = RunLocation(bucket=bucket, prefix="", run="far")
    cache = tmp_path_factory.getbasetemp().parent / "simcloud-cache"
    before = {rule: metric(rule) for rule in RULES}
    async with running_pair(s3_server.settings, cache, workers=1) as pair:
        spec = resolved(far_spec(bundle.stage, bundle.digest), pair.generator)
        created = await pair.uploads.create_run(location, spec=spec, plan=PLAN)
        events = [event async for event in pair.client.generate(spec, location, created.shards)]
        totals = events[-1]
        assert isinstance(totals, GenerateTotals)
        moved = [event for event in events if isinstance(event, ShardMoved)]
        open_run = await pair.uploads.get_run(location)
        published = (await pair.uploads.publish_run(location)).summary

    broken = [event for event in moved if event.quarantine_rule]
    assert 0 < len(broken) < PLAN.frames, "one cube is near, the other far"
    assert {event.quarantine_rule for event in broken} <= set(RULES)
    assert all(event.quarantine_reason for event in broken)
    expected = {
        rule: sum(event.quarantine_rule == rule for event in broken)
        for rule in sorted({event.quarantine_rule for event in broken})
    }
    assert totals.quarantined_by_rule == expected
    assert totals.quarantined_frames == len(broken)
    assert open_run.summary.state is RunState.OPEN
    assert open_run.summary.quarantined_by_rule == expected
    assert published.quarantined_by_rule == expected
    assert {rule: metric(rule) - before[rule] for rule in expected} == expected
    manifest = await load_manifest(store, location)
    assert sorted(row.rule for row in manifest.quarantine) == sorted(
        event.quarantine_rule for event in broken
    )
    assert {row.frame for row in manifest.quarantine} == {event.frame for event in broken}
