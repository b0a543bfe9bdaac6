"""What tags make of endpoints, over time and beside a written catalogue."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from simcloud_inference_router.catalog import Catalog
from simcloud_inference_router.discovery.endpoints import (
    Found,
    FoundEndpoints,
    FoundTarget,
    TaggedEndpoint,
    read_endpoint,
)
from simcloud_inference_router.discovery.merging import merge
from simcloud_inference_router.discovery.options import DiscoveryOptions

OPTIONS = DiscoveryOptions(drain_s=10)
DIGEST = "0" * 64
REGION = "eu-central-1"


def tagged(name: str, model: str = "det", status: str = "InService", **tags: str) -> TaggedEndpoint:
    ours = {f"simcloud:{key}": value for key, value in tags.items()}
    return TaggedEndpoint(name, status, {"simcloud:model": model, **ours})


def found(name: str, model: str = "det", **tags: str) -> FoundTarget:
    return read_endpoint(tagged(name, model, **tags), OPTIONS)


def target(name: str, **changes: object) -> dict[str, object]:
    return {"name": name, "kind": "sagemaker", "endpoint": name, **changes}


def entry(*targets: str | dict[str, object], **changes: object) -> dict[str, object]:
    return {
        "name": "det",
        "task": "object_detection",
        "digest": DIGEST,
        "tensor_codec": None,
        "targets": [target(each) if isinstance(each, str) else each for each in targets],
        **changes,
    }


def catalog(*models: dict[str, object], **discovery: Any) -> Catalog:
    return Catalog.model_validate({"models": models, "discovery": discovery})


class Looks:
    """Looks at given times."""

    def __init__(self) -> None:
        self.endpoints = FoundEndpoints()

    def at(self, now_s: float, *seen: TaggedEndpoint) -> Found:
        return self.endpoints.update(seen, options=OPTIONS, now_s=now_s)


def weights(found: Found) -> dict[str, float]:
    return {each.entry.name: each.entry.weight for each in found.targets}


def test_targets_stay_in_the_order_in_which_they_came() -> None:
    looks = Looks()
    assert weights(looks.at(0, tagged("b"), tagged("c"))) == {"b": 1, "c": 1}
    after = looks.at(1, tagged("a"), tagged("c"), tagged("b", weight="0.5"))
    assert list(weights(after).items()) == [("b", 0.5), ("c", 1), ("a", 1)]


def test_one_answer_that_misses_an_endpoint_takes_nothing_away() -> None:
    looks = Looks()
    looks.at(0, tagged("a"))
    assert weights(looks.at(1)) == {"a": 1}
    assert weights(looks.at(2, tagged("a"))) == {"a": 1}
    assert weights(looks.at(3)) == {"a": 1}
    (left,) = looks.at(4, tagged("a", status="")).targets
    assert (left.entry.weight, left.gone) == (0, True)
    assert weights(looks.at(13)) == {"a": 0}
    assert weights(looks.at(14)) == {}


@pytest.mark.parametrize("status", ["OutOfService", "Creating", "Deleting", "Failed"])
def test_an_endpoint_that_takes_no_requests_is_drained_at_once(status: str) -> None:
    looks = Looks()
    looks.at(0, tagged("a"))
    assert weights(looks.at(1, tagged("a", status=status))) == {"a": 0}
    (back,) = looks.at(2, tagged("a", status="RollingBack")).targets
    assert (back.entry.weight, back.gone) == (1, False)


def test_an_endpoint_changes_its_model_only_when_the_old_one_has_let_it_go() -> None:
    looks = Looks()
    looks.at(0, tagged("a", "det"))
    moving = looks.at(1, tagged("a", "seg"))
    assert [(each.model, each.entry.weight) for each in moving.targets] == [("det", 0)]
    assert moving.problems == ("endpoint a is drained for model det before seg gets it",)
    (moved,) = looks.at(11, tagged("a", "seg")).targets
    assert (moved.model, moved.entry.weight) == ("seg", 1)


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        ({"weight": "much"}, "weight: Input should be a valid number"),
        ({"weight": "nan"}, "weight: Input should be less than or equal to 1000000"),
        ({"tier": "-1"}, "tier: Input should be greater than or equal to 0"),
        ({"codec": "jpeg"}, "tag simcloud:codec is 'jpeg'; there are: bytes, csv"),
        ({"digest": "abc"}, "tag simcloud:digest is 'abc', which is no SHA-256"),
        ({"model": ""}, "tag simcloud:model is '', which is no name of a model"),
    ],
)
def test_wrong_tags_keep_a_new_endpoint_out_and_an_old_one_as_it_was(
    tags: dict[str, str], problem: str
) -> None:
    looks = Looks()
    looks.at(0, tagged("a", weight="2"))
    wrong = {"model": "det", **tags}
    after = looks.at(1, tagged("a", **wrong), tagged("b", **wrong))
    assert weights(after) == {"a": 2}
    stays, left_out = after.problems
    assert stays.startswith("endpoint a stays what it was: ")
    assert left_out.startswith("endpoint b is left out: ")
    assert problem in stays
    assert problem in left_out


def test_found_targets_follow_the_written_ones_and_written_ones_win() -> None:
    written = catalog(entry("a", target("b", weight=2.0)))
    merged = merge(
        written,
        [found("a"), found("b", weight="2"), found("c"), found("d", weight="0", tier="2")],
        region=REGION,
    )
    (model,) = merged.catalog.models
    assert [(each.name, each.weight, each.tier) for each in model.targets] == [
        ("a", 1, 0),
        ("b", 2, 0),
        ("c", 1, 0),
        ("d", 0, 2),
    ]
    assert (merged.targets, merged.problems) == (2, ())


@pytest.mark.parametrize(("written_region", "looked_at"), [(REGION, ""), ("", REGION)])
@pytest.mark.parametrize("name", ["a", "of-another-name"])
def test_an_endpoint_written_with_the_services_own_region_or_none_is_the_same(
    written_region: str, looked_at: str, name: str
) -> None:
    written = catalog(entry({**target("a", region=written_region), "name": name}))
    seen = read_endpoint(tagged("a"), DiscoveryOptions(region=looked_at))
    merged = merge(written, [seen], region=REGION)
    (model,) = merged.catalog.models
    assert [each.name for each in model.targets] == [name]
    assert merged.problems == ()
    elsewhere = merge(written, [seen], region="us-east-1")
    assert len(elsewhere.catalog.models[0].targets) + len(elsewhere.problems) == 2


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        (found("a", "seg"), "its tag says model seg; the catalogue has it for model det and wins"),
        (found("a", tier="3"), "its tag says tier 3; the catalogue says 0 and wins"),
        (found("x"), "the catalogue has its name for another target, which wins"),
        (found("c", digest="1" * 64), "its tag simcloud:digest is not the digest of model det"),
        (found("c", codec="npy"), "model det has none and raw_image for tensors and pictures"),
        (found("c", "seg"), "the catalogue has no model seg; write it"),
    ],
)
def test_an_endpoint_that_does_not_fit_is_left_out_alone(other: FoundTarget, problem: str) -> None:
    written = catalog(entry("a", {"name": "x", "kind": "container", "url": "http://x:1"}))
    merged = merge(written, [other, found("fits")], region=REGION)
    assert [each.name for each in merged.catalog.models[0].targets] == ["a", "x", "fits"]
    (told,) = merged.problems
    assert problem in told


def test_a_model_has_no_more_targets_than_a_written_one_may() -> None:
    merged = merge(catalog(entry()), [found(f"e{number}") for number in range(66)], region=REGION)
    assert len(merged.catalog.models[0].targets) == 64
    assert ["at most 64 items" in each for each in merged.problems] == [True, True]


def test_models_that_only_tags_name_are_as_the_defaults_describe_them() -> None:
    described = {"task": "detection", "tensor_codec": None}
    written = catalog(defaults={"model": described})
    merged = merge(
        written,
        [
            found("a", "seg", digest="1" * 64, codec="raw_image"),
            found("b", "seg"),
            found("c", "cls"),
            found("d", "seg", digest="2" * 64),
        ],
        region=REGION,
    )
    (model,) = merged.catalog.models
    assert (model.name, model.task, model.digest) == ("seg", "detection", "1" * 64)
    assert [each.name for each in model.targets] == ["a", "b"]
    assert "endpoint c is left out: digest: Field required" in merged.problems
    assert "endpoint d is left out" in merged.problems[1]


@pytest.mark.parametrize(
    ("discovery", "problem"),
    [
        (None, "model det: targets must name at least one"),
        ({"tags": {"simcloud:model": "det"}}, "simcloud:model is asked for anyway"),
        ({"defaults": {"model": {"name": "a"}}}, "name can't be the same for all models"),
        ({"defaults": {"model": {"task": "a b"}}}, "discovery.defaults.model is not valid: task"),
        ({"defaults": {"target": {"kind": "container"}}}, "kind: Input should be|sagemaker_stream"),
        ({"every_s": 0}, "every_s"),
    ],
)
def test_a_section_that_can_not_work_is_refused(discovery: object, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Catalog.model_validate({"models": [entry()], "discovery": discovery})


def test_what_all_found_targets_have_in_common_comes_from_the_defaults() -> None:
    options = DiscoveryOptions.model_validate(
        {
            "region": "eu-west-1",
            "defaults": {"target": {"kind": "sagemaker_serverless", "timeout_s": 5}},
        }
    )
    made = read_endpoint(tagged("a"), options).entry
    assert (made.kind, made.region, made.timeout_s) == ("sagemaker_serverless", "eu-west-1", 5)
    assert made.max_request_bytes == 4 << 20
