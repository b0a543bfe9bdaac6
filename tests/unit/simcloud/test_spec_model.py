"""The spec's canonical form, its digest, what it refuses, and how plans grow."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from simcloud.errors import InvalidRequest
from simcloud.spec.canonical import canonical_json, digest, parse, problems
from simcloud.spec.model import Spec, differing_fields
from simcloud.spec.plan import Plan

ROOT = Path(__file__).parents[3]
MINIMAL: dict[str, object] = {
    "scene": {"root": "stage.usda"},
    "cameras": [
        {
            "name": "main",
            "width_px": 640,
            "height_px": 480,
            "placement": {"kind": "look_at", "eye": [0, -3, 1], "target": [0, 0, 0]},
        }
    ],
}


def changed(**parts: object) -> dict[str, object]:
    return {**copy.deepcopy(MINIMAL), **parts}


def test_defaults_are_part_of_the_digest() -> None:
    spec = Spec.model_validate(MINIMAL)
    written_out = Spec.model_validate(json.loads(canonical_json(spec)))
    assert canonical_json(written_out) == canonical_json(spec)
    assert json.loads(canonical_json(spec))["encodings"] == {"rgb": "png"}


def test_the_order_of_annotators_and_keys_does_not_matter() -> None:
    one = Spec.model_validate(changed(annotators=["normals", "rgb"]))
    other = Spec.model_validate(dict(reversed(changed(annotators=["rgb", "normals"]).items())))
    assert digest(canonical_json(one)) == digest(canonical_json(other))


def test_parse_takes_only_the_canonical_form() -> None:
    data = canonical_json(Spec.model_validate(MINIMAL))
    assert canonical_json(parse(Spec, data, field="spec")) == data
    with pytest.raises(InvalidRequest, match="canonical form"):
        parse(Spec, json.dumps(json.loads(data), indent=1).encode(), field="spec")
    with pytest.raises(InvalidRequest, match="not JSON"):
        parse(Spec, b"{", field="spec")


@pytest.mark.parametrize(
    ("part", "path", "words"),
    [
        ({"annotators": ["rgb", "depth"]}, "annotators", "unknown annotator 'depth'"),
        ({"annotators": []}, "annotators", "at least 1"),
        ({"cameras": []}, "cameras", "at least 1"),
        ({"seed": -1}, "seed", "greater than or equal to 0"),
        ({"encodings": {"rgb": "exr_half"}}, "", "rgb can't be exr_half"),
        ({"encodings": {"normals": "npz"}}, "", "not among the annotators"),
        ({"sed": 1}, "sed", "no such field"),
    ],
)
def test_a_wrong_spec_says_where_and_what(part: dict[str, object], path: str, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Spec.model_validate(changed(**part))
    assert any(found == path and words in problem for found, problem in problems(caught.value))


@pytest.mark.parametrize("size", [0, -1, 8193, 2.5])
def test_impossible_resolutions_are_refused(size: float) -> None:
    wrong = copy.deepcopy(MINIMAL)
    wrong["cameras"][0]["width_px"] = size  # type: ignore[index]
    with pytest.raises(ValidationError) as caught:
        Spec.model_validate(wrong)
    assert problems(caught.value)[0][0] == "cameras[0].width_px"


def test_differing_fields_are_named() -> None:
    one = Spec.model_validate(MINIMAL)
    other = Spec.model_validate(changed(seed=3, annotators=["rgb"]))
    assert differing_fields(one, other) == ["annotators", "seed"]


@given(st.integers(1, 5000), st.integers(1, 300))
def test_shards_cover_every_frame_once(frames: int, per_shard: int) -> None:
    plan = Plan(frames=frames, frames_per_shard=per_shard)
    covered = [frame for shard in plan.shards() for frame in range(shard.first, shard.end)]
    assert covered == list(range(frames))
    assert all(len(shard) <= per_shard for shard in plan.shards())


def test_a_split_is_a_hash_of_the_index_and_keeps_its_weight() -> None:
    plan = Plan(frames=4000, splits={"train": 8, "val": 1, "test": 1})
    splits = [plan.split_of(frame) for frame in range(4000)]
    assert splits[:100] == [Plan(frames=100).split_of(frame) for frame in range(100)]
    assert abs(splits.count("train") / 4000 - 0.8) < 4 * (0.8 * 0.2 / 4000) ** 0.5


def test_a_plan_grows_by_whole_shards_only() -> None:
    whole = Plan(frames=24, frames_per_shard=12)
    assert Plan(frames=36, frames_per_shard=12).is_growth_of(whole) is None
    assert whole.is_growth_of(whole) is None
    cut = Plan(frames=20, frames_per_shard=12)
    assert "never changes" in str(Plan(frames=36, frames_per_shard=12).is_growth_of(cut))
    assert "can't shrink" in str(Plan(frames=12, frames_per_shard=12).is_growth_of(whole))
    assert "frames_per_shard" in str(Plan(frames=24, frames_per_shard=6).is_growth_of(whole))


def test_the_published_schema_accepts_the_demo_and_refuses_what_the_model_refuses() -> None:
    schema = Draft202012Validator(Spec.model_json_schema())
    demo = yaml.safe_load((ROOT / "scenes" / "showroom" / "spec.yaml").read_text())
    assert list(schema.iter_errors(demo)) == []
    wrongs: list[dict[str, object]] = [
        {"sed": 1},
        {"seed": -1},
        {"cameras": []},
        {"randomization": {"dome": {"environments": {"chioce": ["lobby"]}}}},
    ]
    for wrong in wrongs:
        assert list(schema.iter_errors(demo | wrong)), wrong
