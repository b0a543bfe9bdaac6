"""The run of an import: nobody rendered it, says its spec; its plan keeps the source's splits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from simcloud.client.generator import Backend, GeneratorDescription
from simcloud.client.renderer import resolve_renderer
from simcloud.dataset.layout import RunLocation
from simcloud.errors import PreconditionFailed
from simcloud.importing.frame import records
from simcloud.importing.pictures import PictureFacts
from simcloud.importing.scan import Scanned, ScanOptions, scan
from simcloud.importing.sources import LocalSource
from simcloud.importing.store import ImportRequest, fingerprint_of, plan_of, spec_of
from simcloud.importing.types import ImportLimits, SourceObject
from simcloud.scoring.join import truths_of
from simcloud.spec.canonical import canonical_json, parse
from simcloud.spec.model import Spec
from simcloud.spec.plan import Plan, SplitRange
from support import foreign_sets

LOCATION = RunLocation(bucket="bucket", prefix="", run="photos")


async def scanned(folder: Path, form: str = "auto") -> Scanned:
    limits = ImportLimits()
    return await scan(LocalSource(folder, limits), ScanOptions(format=form), limits=limits)


async def test_the_plan_keeps_the_splits_and_counts_every_object(tmp_path: Path) -> None:
    foreign_sets.coco(tmp_path)
    found = await scanned(tmp_path)
    plan = plan_of(ImportRequest(location=LOCATION, scanned=found, frames_per_shard=2))
    assert [plan.split_of(index) for index in range(6)] == ["train"] * 4 + ["val"] * 2
    assert parse(Plan, canonical_json(plan), field="plan") == plan
    assert plan.counting.labels == {"dog": "dog", "person": "person"}
    mapped = ImportRequest(location=LOCATION, scanned=found, class_map={"dog": "cat"})
    assert plan_of(mapped).counting.labels == {"dog": "cat"}


async def test_ignored_objects_are_truths_that_do_not_count(tmp_path: Path) -> None:
    foreign_sets.coco(tmp_path)
    found = await scanned(tmp_path)
    plan = plan_of(ImportRequest(location=LOCATION, scanned=found))
    facts = PictureFacts(width=32, height=24, as_is=None)
    whole = SourceObject(label="dog", box=(1, 1, 5, 5))
    objects = (whole, replace(whole, ignored=True), replace(whole, box=None))
    truths = truths_of(records(objects, ("dog",), facts), plan.counting)
    assert [(truth.counted, truth.visible_px) for truth in truths] == [(True, None), (False, None)]


async def test_detecting_the_format_leaves_no_trace_in_the_digest(tmp_path: Path) -> None:
    foreign_sets.coco(tmp_path)
    foreign_sets.write_json(tmp_path / "annotations" / "captions_train2017.json", {"images": []})
    found, told = await scanned(tmp_path), await scanned(tmp_path, "coco")
    assert spec_of(found) == spec_of(told)
    assert fingerprint_of(found) == fingerprint_of(told)


async def test_no_generator_takes_the_spec(tmp_path: Path) -> None:
    foreign_sets.classes(tmp_path)
    spec = spec_of(await scanned(tmp_path))
    assert Spec.model_validate(spec.model_dump(mode="json")) == spec
    assert (spec.renderer.backend, spec.scene.root) == ("imported", "classes")
    camera = spec.cameras[0]
    assert (camera.horizontal_fov_deg, camera.focal_length_mm) == (None, None)
    backend = Backend("mitsuba", ("scalar_rgb",), "f", "{}", stochastic=False, preflight=())
    description = GeneratorDescription(
        version="0", backends=(backend,), annotators=(), workers=1, max_frames_per_call=1
    )
    with pytest.raises(PreconditionFailed, match=r"renderer\.backend is 'imported'"):
        resolve_renderer(spec, description)
    plain = spec.model_dump(mode="json")
    with pytest.raises(ValidationError, match="placement unknown and"):
        Spec.model_validate({**plain, "renderer": {"backend": "mitsuba"}})


def test_a_plan_without_ranges_is_written_as_it_always_was() -> None:
    plan = Plan(frames=4)
    assert b"split_ranges" not in canonical_json(plan)
    assert parse(Plan, canonical_json(plan), field="plan") == plan


@pytest.mark.parametrize("ends", [(2,), (2, 2, 4), (3, 2, 4), (2, 5)])
def test_ranges_that_do_not_cover_the_frames_are_refused(ends: tuple[int, ...]) -> None:
    ranges = tuple(SplitRange(split=f"s{end}", end=end) for end in ends)
    with pytest.raises(ValidationError, match="split_ranges ascend"):
        Plan(frames=4, split_ranges=ranges)


def test_ranges_never_change() -> None:
    plan = Plan(frames=4, split_ranges=(SplitRange(split="train", end=4),))
    assert plan.is_growth_of(plan) is None
    assert Plan(frames=4).is_growth_of(plan) == "splits can't change"
