from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from simcloud_inference_router.catalog import ModelEntry
from simcloud_inference_router.model_options import ColdStartOptions, HedgeOptions

DIGEST = "0" * 64


def model(*targets: str, **traffic: object) -> ModelEntry:
    return ModelEntry.model_validate(
        {
            "name": "det",
            "task": "t",
            "digest": DIGEST,
            "tensor_codec": None,
            "targets": [
                {"name": name, "kind": "container", "url": "http://h:1"} for name in targets
            ],
            **traffic,
        }
    )


def test_the_example_of_the_routing_page_is_a_catalogue() -> None:
    page = (Path(__file__).parents[3] / "docs" / "concepts" / "routing.md").read_text()
    example = page.split("```yaml\n")[1].split("```")[0]
    (described,) = yaml.safe_load(example)["models"]
    entry = ModelEntry.model_validate(
        {**described, "task": "t", "digest": DIGEST, "tensor_codec": None}
    )
    assert [target.tier for target in entry.targets] == [0, 0, 1, 0, 0]
    defaults = model("a")
    assert (entry.outlier, entry.session) == (defaults.outlier, defaults.session)
    assert entry.hedge == HedgeOptions()
    assert entry.cold_start == ColdStartOptions()


def test_a_model_with_one_target_needs_no_options() -> None:
    entry = model("a")
    assert (entry.hedge, entry.canary, entry.shadow, entry.cold_start) == (None,) * 4
    assert entry.outlier.consecutive_failures == 5
    assert (entry.targets[0].tier, entry.targets[0].weight) == (0, 1.0)


@pytest.mark.parametrize(
    ("traffic", "problem"),
    [
        ({"canary": {"target": "x", "percent": 5}}, "canary.target x is none of a, b"),
        ({"canary": {"target": "b", "percent": 101}}, "percent"),
        ({"canary": {"target": "b", "percent": 5, "by": "parameter"}}, "give both or neither"),
        ({"canary": {"target": "b", "percent": 5, "parameter": "p"}}, "give both or neither"),
        ({"shadow": {"target": "b", "compare": "pixels"}}, "shadow.compare"),
        (
            {
                "canary": {"target": "b", "percent": 5},
                "shadow": {"target": "b", "compare": "classes"},
            },
            "must be different",
        ),
        (
            {
                "canary": {"target": "a", "percent": 5},
                "shadow": {"target": "b", "compare": "classes"},
            },
            "no target is left",
        ),
        (
            {"hedge": {}, "shadow": {"target": "b", "compare": "classes"}},
            "hedge needs a second target",
        ),
        ({"hedge": {"percentile": 100}}, "hedge.percentile"),
        ({"cold_start": {"wait": 1}}, "cold_start.wait"),
    ],
)
def test_options_that_make_no_sense_are_refused_with_the_problem(
    traffic: Mapping[str, object], problem: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        model("a", "b", **traffic)
    told = [
        f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}"
        for each in caught.value.errors()
    ]
    assert any(problem in each for each in told), told
