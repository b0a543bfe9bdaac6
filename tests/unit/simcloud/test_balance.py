"""Balanced groups: every stretch of a run has each class by its share."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from simcloud.spec.balance import class_of_object, quota_sequence
from simcloud.spec.check import check_against_scene
from simcloud.spec.draws import Draws
from simcloud.spec.model import Spec
from simcloud.spec.parameters import Vector3
from simcloud.spec.sample import sample
from support.scene_contents import EmptyScene

LABELS = {"sofa": "couch", "couch": "couch", "stool": "chair", "bunk": "bed", "vase": None}
CAMERA = {
    "name": "main",
    "width_px": 64,
    "height_px": 48,
    "placement": {"kind": "look_at", "eye": [0, -4, 1.5], "target": [0, 0, 0]},
}
GROUP: dict[str, Any] = {
    "name": "seats",
    "assets": {"weighted": {"sofa": 3, "couch": 1, "stool": 1, "bunk": 1}},
    "balance": {"couch": 2, "chair": 1, "bed": 1},
    "count": {"integer": [0, 4]},
    "placement": {"kind": "scatter", "x_m": {"uniform": [-90, 90]}, "y_m": {"uniform": [-90, 90]}},
}


class Contents(EmptyScene):
    """A scene with assets of three classes."""

    asset_names = frozenset(LABELS)

    def asset_label(self, name: str) -> str | None:
        return LABELS[name]

    def asset_size_m(self, name: str) -> Vector3:
        return (0.4, 0.4, 0.4)


SCENE = Contents()


def make(*groups: dict[str, Any], seed: int = 1, **randomization: object) -> Spec:
    return Spec.model_validate(
        {
            "seed": seed,
            "scene": {"root": "stage.usda"},
            "cameras": [CAMERA],
            "randomization": copy.deepcopy({"objects": list(groups), **randomization}),
        }
    )


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 10), min_size=1),
    st.integers(1, 300),
    st.integers(0, 100),
)
@settings(max_examples=100, deadline=None)
def test_every_beginning_has_each_class_by_its_share_within_one(
    shares: dict[str, float], length: int, seed: int
) -> None:
    shares["z"] = 1.0
    sequence = quota_sequence(shares, length, seed=seed, block=0, name="x")
    total = sum(shares.values())
    given_out: Counter[str] = Counter()
    for place, label in enumerate(sequence, start=1):
        given_out[label] += 1
        for one, share in shares.items():
            # the sequence is exact; the share here is a float
            assert abs(given_out[one] - place * share / total) < 1 + 1e-9


def test_chance_decides_within_the_quota() -> None:
    one = quota_sequence({"a": 1, "b": 1, "c": 1}, 300, seed=1, block=0, name="x")
    rounds = {one[first : first + 3] for first in range(0, 300, 3)}
    assert len(rounds) == 6
    assert one != quota_sequence({"a": 1, "b": 1, "c": 1}, 300, seed=1, block=1, name="x")


@given(st.integers(0, 2000), st.integers(1, 256), st.integers(0, 50))
@settings(max_examples=15, deadline=None)
def test_any_stretch_of_256_frames_is_balanced_within_three_objects(
    first: int, frames: int, seed: int
) -> None:
    spec = make(GROUP, seed=seed)
    group = spec.randomization.objects[0]
    counted: Counter[str] = Counter()
    for frame in range(first, first + frames):
        draws = Draws(spec.seed, frame, spec=spec)
        tried = int(draws.real("objects.seats.tried", group.count, keep=False))
        counted.update(class_of_object(group, index, draws) for index in range(tried))
    total = counted.total()
    for label, share in GROUP["balance"].items():
        assert abs(counted[label] - total * share / 4) < 3


def test_objects_get_assets_of_their_class_by_weight() -> None:
    spec = make(GROUP | {"count": 4})
    assets = Counter(
        item.asset for frame in range(256) for item in sample(spec, SCENE, frame).objects
    )
    assert assets["stool"] == assets["bunk"] == 256
    assert assets["sofa"] + assets["couch"] == 512
    assert abs(assets["sofa"] / 512 - 0.75) < 4 * (0.75 * 0.25 / 512) ** 0.5


@pytest.mark.parametrize("first", [0, 1777])
def test_groups_share_a_balance_by_counts_that_are_drawn_together(first: int) -> None:
    """As the docs say: beds along walls and chairs elsewhere, one bed to three chairs."""
    rows = {"name": "classes", "columns": ["beds", "chairs"], "rows": [[1, 0], [0, 1]]}
    spec = make(
        GROUP | {"name": "b", "assets": "bunk", "balance": None, "count": {"from": "classes.beds"}},
        GROUP
        | {"name": "c", "assets": "stool", "balance": None, "count": {"from": "classes.chairs"}},
        joint=[rows | {"weights": [1, 3], "pick": "stratified"}],
    )
    given_out = Counter(
        item.asset
        for frame in range(first, first + 256)
        for item in sample(spec, SCENE, frame).objects
    )
    assert given_out.total() == 256
    assert abs(given_out["bunk"] - 64) < 3


def test_counts_may_refer_to_other_values_and_other_groups_change_nothing() -> None:
    crowd = {"crowd": {"integer": [1, 3]}}
    spec = make(GROUP | {"count": {"from": "crowd"}}, values=crowd)
    other = GROUP | {"name": "others"}
    more = make(other, GROUP | {"count": {"from": "crowd"}}, values=crowd)
    for frame in (0, 255, 256, 700):
        alone = {item.name: item.asset for item in sample(spec, SCENE, frame).objects}
        together = {item.name: item.asset for item in sample(more, SCENE, frame).objects}
        assert alone.items() <= together.items()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"balance": {"couch": 0}}, "shares are all 0"),
        ({"balance": {"couch": -1}}, "greater than or equal to 0"),
        ({"assets": {"stratified": {"choice": ["sofa"]}}}, "a choice or weighted"),
    ],
)
def test_an_impossible_balance_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        make(GROUP | change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"balance": {"couch": 1, "chair": 1}}, "asset bunk is of class bed, which has no share"),
        ({"balance": GROUP["balance"] | {"lamp": 1}}, "no asset of the group is of class 'lamp'"),
        ({"assets": {"choice": ["sofa", "vase"]}}, "asset vase is of class none"),
    ],
)
def test_a_balance_that_does_not_fit_the_scene_is_named(change: dict[str, Any], words: str) -> None:
    [(field, problem)] = check_against_scene(make(GROUP | change), SCENE)
    assert field == "randomization.objects[seats].balance"
    assert words in problem


def test_distractors_are_placed_without_a_label() -> None:
    spec = make(GROUP | {"count": 2}, GROUP | {"name": "clutter", "count": 2, "distractor": True})
    assert {(item.group, item.labelled) for item in sample(spec, SCENE, 0).objects} == {
        ("seats", True),
        ("clutter", False),
    }
