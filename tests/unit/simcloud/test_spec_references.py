"""Distributions that refer to other values: what is refused, and what they draw."""

from __future__ import annotations

import copy

import pytest

from simcloud.spec.check import check_against_scene
from simcloud.spec.model import Spec
from simcloud.spec.references import named_draws, resolved
from simcloud.spec.sample import sample
from support.referring_specs import (
    CAMERA,
    LAMP,
    SCENE,
    WEATHER,
    Json,
    dome,
    make,
    refusal,
    values,
)


def test_a_row_of_a_joint_table_is_drawn_as_a_whole() -> None:
    spec = make(
        joint=[WEATHER],
        dome=dome(environments={"from": "weather.environment"}),
        rect_lights=[LAMP | {"temperature_k": {"from": "weather.temperature_k"}}],
    )
    rows = set()
    labs = 0
    for frame in range(400):
        found = values(spec, frame)
        row = tuple(found[f"weather.{column}"] for column in WEATHER["columns"])
        rows.add(row)
        labs += row[0] == "lab"
        assert found["dome.environment"] == row[0]
        assert found["light.key.temperature_k"] == row[1]
    assert rows == {tuple(row) for row in WEATHER["rows"]}
    assert abs(labs / 400 - 0.25) < 4 * (0.25 * 0.75 / 400) ** 0.5


def test_rows_may_be_taken_one_after_the_other() -> None:
    table = {key: value for key, value in WEATHER.items() if key != "weights"}
    spec = make(joint=[table | {"pick": "sequence"}])
    assert [values(spec, frame)["weather.temperature_k"] for frame in range(4)] == [3000, 6000] * 2


def test_rows_may_be_taken_evenly() -> None:
    spec = make(joint=[WEATHER | {"pick": "stratified"}])
    taken = [values(spec, frame)["weather.environment"] for frame in range(64)]
    assert [taken[first : first + 4].count("lab") for first in range(0, 64, 4)] == [1] * 16


def test_a_conditional_takes_the_branch_of_what_the_frame_holds() -> None:
    spec = make(
        dome=dome(
            intensity={"given": "dome.environment", "cases": {"lab": 2}, "default": 0.5},
            rotation_deg={
                "given": "day",
                "below": {6: 1, 18: {"given": "dome.environment", "cases": {"lab": 2, "lobby": 3}}},
                "default": 4,
            },
        ),
        values={"day": {"uniform": [0, 24]}},
    )
    seen = set()
    for frame in range(60):
        found = values(spec, frame)
        lab = found["dome.environment"] == "lab"
        assert found["dome.intensity"] == (2 if lab else 0.5)
        day = found["day"]
        assert isinstance(day, float)
        middle = 2 if lab else 3
        assert found["dome.rotation_deg"] == (1 if day < 6 else middle if day < 18 else 4)
        seen.add(found["dome.rotation_deg"])
    assert seen == {1, 2, 3, 4}


def test_keys_of_cases_may_be_numbers_and_truth_values() -> None:
    spec = make(
        values={"lit": {"choice": [True, False]}, "row": {"integer": [1, 2]}},
        dome=dome(
            intensity={"given": "lit", "cases": {True: 1, False: 0}},
            rotation_deg={"given": "row", "cases": {1: 10, 2: 20}},
        ),
    )
    for frame in range(20):
        found = values(spec, frame)
        assert found["dome.intensity"] == int(bool(found["lit"]))
        assert found["dome.rotation_deg"] == 10 * float(found["row"])


def test_values_of_objects_may_refer_to_the_frame() -> None:
    group = {
        "name": "crates",
        "assets": "crate",
        "count": {"from": "crowd"},
        "scale": {"given": "crowd", "below": {3: 2}, "default": 1},
        "placement": {"kind": "scatter", "x_m": {"uniform": [-9, 9]}, "y_m": {"uniform": [-9, 9]}},
    }
    spec = make(values={"crowd": {"integer": [1, 5]}}, objects=[group])
    for frame in range(20):
        parameters = sample(spec, SCENE, frame)
        crowd = parameters.values["crowd"]
        assert len(parameters.objects) == crowd
        assert {item.scale for item in parameters.objects} == {2 if float(crowd) < 3 else 1}


def test_a_camera_may_follow_another_camera() -> None:
    second = copy.deepcopy(CAMERA) | {"name": "second"}
    second["placement"]["eye"][0] = {"from": "camera.main.eye.x"}
    spec = Spec.model_validate(
        {"scene": {"root": "stage.usda"}, "cameras": [second, CAMERA], "seed": 1}
    )
    found = values(spec, 5)
    assert found["camera.second.eye.x"] == found["camera.main.eye.x"]


@pytest.mark.parametrize(
    ("randomization", "words"),
    [
        ({"dome": dome(intensity={"from": "wether.t"})}, "dome.intensity: there is no value"),
        (
            {
                "dome": dome(
                    intensity={"from": "dome.rotation_deg"},
                    rotation_deg={"given": "dome.intensity", "below": {1: 2}, "default": 3},
                )
            },
            "depends on itself: dome.rotation_deg -> dome.intensity -> dome.rotation_deg",
        ),
        ({"values": {"a": {"from": "a"}}}, "a depends on itself: a -> a"),
        (
            {"dome": dome(intensity={"given": "dome.environment", "cases": {"loby": 1}})},
            "never 'loby'; it can be: lab, lobby",
        ),
        (
            {"dome": dome(intensity={"given": "dome.environment", "cases": {"lab": 1}})},
            "no case for lobby of dome.environment, and no default",
        ),
        (
            {"dome": dome(intensity={"given": "dome.rotation_deg", "cases": {"lab": 1}})},
            "use below, not cases",
        ),
        (
            {"dome": dome(intensity={"given": "dome.environment", "below": {1: 1}, "default": 0})},
            "can be 'lab': use cases",
        ),
        (
            {"joint": [WEATHER], "dome": dome(intensity={"from": "weather.environment"})},
            "dome.intensity: must draw numbers, but can draw 'lab'",
        ),
        (
            {
                "values": {"heat": {"uniform": [1000, 3000]}},
                "rect_lights": [LAMP | {"temperature_k": {"from": "heat"}}],
            },
            "rect_lights[0].temperature_k: must draw values in [1667, 25000], but can draw 1000",
        ),
        (
            {
                "values": {"heat": {"normal": [3000, 10]}},
                "rect_lights": [LAMP | {"temperature_k": {"from": "heat"}}],
            },
            "must draw values in [1667, 25000]",
        ),
        (
            {"dome": dome(intensity={"given": "a", "below": {"warm": 1}, "default": 1})},
            "'warm' is no limit",
        ),
        ({"dome": dome(intensity={"given": "a"})}, "give cases or below"),
        ({"dome": dome(intensity={"given": "a", "below": {1: 1}})}, "below needs a default"),
        ({"values": {"a": {"choice": [1, "x"]}}}, "values.a: mixes names and numbers"),
        ({"joint": [WEATHER | {"name": "camera"}]}, "choose another name"),
        ({"joint": [WEATHER | {"rows": [["lab", 1]]}]}, "rows[0] has 2 values for 3 columns"),
        (
            {"joint": [WEATHER | {"columns": ["a"], "rows": [[1], ["x"]]}]},
            "mixes names and numbers",
        ),
        ({"joint": [WEATHER | {"pick": "sequence"}]}, "weights do not count"),
        ({"joint": [WEATHER | {"weights": [1]}]}, "2 values but 1 weights"),
        ({"joint": [WEATHER, WEATHER]}, "a name is used twice"),
        ({"dome": dome(intensity={"stratified": {"from": "a"}})}, "does not match any"),
        (
            {"values": {"daylight": 1}, "dome": dome(intensity={"from": "dailight"})},
            "is one of these meant: daylight?",
        ),
        ({"values": {"a": {"unifrom": [0, 1]}}}, "'unifrom' is no distribution; there are: unif"),
        ({"values": {"a": {"uniform": [0, 1, 2]}}}, "uniform takes [low, high]"),
        ({"values": {"a": {"uniform": [0, 1], "choice": [1]}}}, "a value has one distribution"),
        ({"values": {"a": {}}}, "an empty mapping is no distribution"),
        (
            {"values": {"a": {"sequence": [1, 2], "stride": 2}}},
            "stride must stand inside: {sequence: {values: ..., stride: ...}}",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_reason(randomization: Json, words: str) -> None:
    assert words in refusal(**randomization)


def test_long_chains_of_references_cost_no_more_than_their_length() -> None:
    shared: Json = {"v0": {"uniform": [0, 1]}}
    for index in range(1, 60):
        last = f"v{index - 1}"
        branches = {"below": {0.5: {"from": last}}, "default": {"from": last}}
        shared[f"v{index}"] = {"given": last, **branches}
    found = values(make(values=shared), 1)
    assert found["v59"] == found["v0"]


def test_every_branch_is_looked_up_in_the_scene() -> None:
    spec = make(
        values={"night": {"choice": [True, False]}},
        dome={"environments": {"given": "night", "cases": {"true": "moon", "false": "lab"}}},
    )
    assert [field for field, _ in check_against_scene(spec, SCENE)] == [
        "randomization.dome.environments"
    ]
    assert "'moon'" in check_against_scene(spec, SCENE)[0][1]


def test_a_resolved_spec_has_no_references_and_the_same_supports() -> None:
    spec = make(joint=[WEATHER], dome=dome(environments={"from": "weather.environment"}))
    known = resolved(spec).randomization.dome
    assert known is not None
    assert known.environments.support() == ("lab", "lobby")


def test_every_name_that_can_be_referred_to_is_drawn_under_that_name() -> None:
    one: Json = {"uniform": [0.4, 0.6]}
    three = [one, one, one]
    spec = make(
        values={"day": one},
        joint=[WEATHER],
        dome=dome(intensity=one, exposure_ev=one),
        lights=[
            {
                "kind": "sphere",
                "name": "bulb",
                "position_m": three,
                "radius_m": one,
                "radiance": one,
                "tint": three,
            },
            {
                "kind": "distant",
                "name": "sun",
                "azimuth_deg": one,
                "elevation_deg": one,
                "irradiance": one,
            },
        ],
        materials=[
            {
                "name": "floor",
                "prims": ["/Floor"],
                "material": {"choice": ["/Looks/a"]},
                "tint": three,
                "color": three,
            },
            {"name": "all", "of": ["/Looks/*"], "roughness": one, "metallic": one},
            {"name": "each", "of": ["/Looks/*"], "each": True, "roughness": one},
        ],
        rect_lights=[
            LAMP | {"position_m": three, "yaw_deg": one},
            {
                "name": "rim",
                "orbit": {
                    "target": three,
                    "distance_m": one,
                    "azimuth_deg": one,
                    "elevation_deg": one,
                },
                "width_m": one,
                "height_m": one,
                "radiance": one,
            },
        ],
    )
    drawn = values(spec, 0)
    named = named_draws(spec)
    variable = {
        name
        for name, found in named.items()
        if getattr(found.distribution, "kind", "") != "constant"
    }
    assert variable <= drawn.keys()
    for name in variable:
        follower = {**spec.model_dump(mode="json")["randomization"], "values": {}}
        follower["values"] = {"day": one, "follower": {"from": name}}
        assert values(make(**follower), 3)["follower"] == values(spec, 3)[name]


def test_a_value_without_bounds_may_be_referred_to() -> None:
    spec = make(values={"far": {"normal": [0, 2]}}, dome=dome(rotation_deg={"from": "far"}))
    assert values(spec, 3)["dome.rotation_deg"] == values(spec, 3)["far"]
