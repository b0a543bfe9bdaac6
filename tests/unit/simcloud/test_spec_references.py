"""Distributions that refer to other values: what is refused, and what they draw."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from simcloud.spec.canonical import problems
from simcloud.spec.check import check_against_scene
from simcloud.spec.model import Spec
from simcloud.spec.parameters import FrameParameters, Scalar, Vector3
from simcloud.spec.references import named_draws, resolved
from simcloud.spec.sample import sample
from support.scene_contents import EmptyScene

Json = dict[str, Any]


class Contents(EmptyScene):
    """A scene of two environments and one asset."""

    asset_names = frozenset({"crate"})
    environment_names = frozenset({"lab", "lobby"})
    material_paths = frozenset({"/Looks/a", "/Looks/b"})
    geometry_paths = frozenset({"/Floor"})

    def asset_size_m(self, name: str) -> Vector3:
        return (0.4, 0.4, 0.4)

    def asset_label(self, name: str) -> str | None:
        return "crate"

    def environment_texture(self, name: str) -> str:
        return f"hdri/{name}.exr"


SCENE = Contents()
LAMP: Json = {
    "name": "key",
    "position_m": [0, 0, 2.7],
    "width_m": 1.8,
    "height_m": 0.9,
    "radiance": 5,
}
WEATHER: Json = {
    "name": "weather",
    "columns": ["environment", "temperature_k", "haze"],
    "rows": [["lab", 3000, 0.5], ["lobby", 6000, 0.25]],
    "weights": [1, 3],
}
CAMERA: Json = {
    "name": "main",
    "width_px": 64,
    "height_px": 48,
    "placement": {
        "kind": "look_at",
        "eye": [{"uniform": [-1, 1]}, -4, 1.5],
        "target": [0, 0, 0],
    },
}


def make(**randomization: object) -> Spec:
    return Spec.model_validate(
        {
            "seed": 3,
            "scene": {"root": "stage.usda"},
            "cameras": [CAMERA],
            "randomization": copy.deepcopy(randomization),
        }
    )


def dome(**fields: object) -> Json:
    return {"environments": {"choice": ["lab", "lobby"]}, **fields}


def values(spec: Spec, frame: int) -> dict[str, Scalar]:
    return sample(spec, SCENE, frame).values


def refusal(**randomization: object) -> str:
    with pytest.raises(ValidationError) as caught:
        make(**randomization)
    return "; ".join(f"{path}: {words}" for path, words in problems(caught.value))


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
            }
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


NUMBERS: list[Json] = [
    {"uniform": [0.5, 2]},
    {"log_uniform": [0.5, 2]},
    {"normal": {"mean": 1, "deviation": 1, "low": 0.5, "high": 2}},
    {"integer": [1, 2]},
    {"choice": [0.5, 1.5]},
    {"sequence": {"values": [0.5, 1, 2], "stride": 2}},
    {"grid": [0.5, 2, 7]},
    {"stratified": {"log_uniform": [0.5, 2]}},
]


@st.composite
def randomizations(draw: st.DrawFn) -> Json:
    """Shared values, tables, lights and groups; later ones may refer to earlier shared values."""
    names = [f"value{index}" for index in range(draw(st.integers(1, 4)))]
    shared: Json = {}
    for index, name in enumerate(names):
        shared[name] = draw(_numbers(names[:index]))
    number = _numbers(names)
    lights = [
        LAMP | {"name": f"lamp{index}", "radiance": draw(number), "yaw_deg": draw(number)}
        for index in range(draw(st.integers(0, 3)))
    ]
    groups = [
        {
            "name": f"group{index}",
            "assets": "crate",
            "count": {"integer": [0, 3]},
            "scale": draw(number),
            "placement": {"kind": "scatter", "x_m": draw(number), "y_m": draw(number)},
        }
        for index in range(draw(st.integers(0, 2)))
    ]
    tables = [
        {"name": f"table{index}", "columns": ["a"], "rows": [[1], [2]]}
        for index in range(draw(st.integers(0, 2)))
    ]
    return {"values": shared, "rect_lights": lights, "objects": groups, "joint": tables}


def _numbers(names: list[str]) -> st.SearchStrategy[Json]:
    plain = st.sampled_from(NUMBERS)
    if not names:
        return plain
    name = st.sampled_from(names)
    conditional = st.builds(
        lambda given, low, high: {"given": given, "below": {1: low}, "default": high},
        name,
        plain,
        plain,
    )
    return plain | name.map(lambda one: {"from": one}) | conditional


def _needed(part: object) -> set[str]:
    """Names that a piece of a spec refers to."""
    if isinstance(part, dict):
        own = {part[key] for key in ("from", "given") if key in part}
        return own.union(*(_needed(value) for value in part.values()))
    if isinstance(part, list):
        return set[str]().union(*(_needed(value) for value in part))
    return set()


@given(randomizations(), st.integers(0, 5000), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_order_changes_nothing_at_all(part: Json, frame: int, random: Any) -> None:
    shuffled: Json = {}
    for key in random.sample(list(part), len(part)):
        items = part[key]
        if isinstance(items, dict):
            shuffled[key] = dict(random.sample(list(items.items()), len(items)))
        else:
            shuffled[key] = random.sample(items, len(items))
    assert _by_name(sample(make(**shuffled), SCENE, frame)) == _by_name(
        sample(make(**part), SCENE, frame)
    )


def _by_name(parameters: FrameParameters) -> Json:
    return {
        "values": parameters.values,
        "objects": parameters.objects,
        "lights": sorted(parameters.rect_lights, key=lambda light: light.name),
        "cameras": parameters.cameras,
        "seed": parameters.render_seed,
    }


@given(randomizations(), st.integers(0, 5000), st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_removing_one_randomizer_changes_no_other_value(
    part: Json, frame: int, data: st.DataObject
) -> None:
    before = values(make(**part), frame)
    reduced = copy.deepcopy(part)
    kind = data.draw(st.sampled_from([key for key in reduced if reduced[key]]))
    if kind == "values":
        free = [name for name in reduced["values"] if name not in _needed(reduced)]
        if not free:
            return
        gone = data.draw(st.sampled_from(free))
        del reduced["values"][gone]
    else:
        gone = reduced[kind].pop(data.draw(st.integers(0, len(reduced[kind]) - 1)))["name"]
    after = values(make(**reduced), frame)
    lost = before.keys() - after.keys()
    assert all(gone in name for name in lost)
    # How many objects found a place is what all groups of a floor decide together.
    places = {name for name in before if name.startswith("objects.")}
    same = before.keys() - lost - places
    assert {name: after[name] for name in same} == {name: before[name] for name in same}


@given(randomizations())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_columns_are_those_of_the_spec_in_every_frame(part: Json) -> None:
    spec = make(**part)
    columns = [list(values(spec, frame)) for frame in range(6)]
    assert all(names == columns[0] for names in columns)
    for name, found in named_draws(spec).items():
        if getattr(found.distribution, "kind", "") != "constant":
            assert name in columns[0]


def every_kind() -> Spec:
    """A spec in which every kind of distribution draws something."""
    return make(
        joint=[WEATHER, WEATHER | {"name": "even", "pick": "stratified"}],
        values={
            **{f"value{index}": kind for index, kind in enumerate(NUMBERS)},
            "even_normal": {"stratified": {"normal": [0, 2]}},
            "below": {
                "given": "value1",
                "below": {1: {"from": "value2"}},
                "default": {"from": "b"},
            },
            "b": {
                "given": "weather.environment",
                "cases": {"lab": {"normal": [1, 3]}},
                "default": 1,
            },
        },
    )


_PRINT = """
import sys
sys.path[:0] = sys.argv[1:]
from test_spec_references import every_kind, values
for frame in range(100):
    print(values(every_kind(), frame))
"""


def test_every_kind_draws_the_same_whatever_the_cpu_offers() -> None:
    spec = every_kind()
    printed = subprocess.run(
        [sys.executable, "-c", _PRINT, str(Path(__file__).parent), str(Path(__file__).parents[2])],
        env={
            **os.environ,
            "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX",
            "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F,-FMA4",
            "PYTHONHASHSEED": "7",
        },
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert printed.splitlines() == [str(values(spec, frame)) for frame in range(100)]
