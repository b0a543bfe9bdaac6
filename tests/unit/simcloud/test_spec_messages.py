"""What is wrong with a spec: its field as it is written, what was found, what to do."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from simcloud.spec.canonical import problems
from simcloud.spec.model import Spec

SPEC = """
scene: {root: stage.usda}
cameras:
  - name: main
    width_px: 64
    height_px: 48
    placement: {kind: look_at, eye: [0, -3, 1], target: [0, 0, 0]}
randomization:
  rect_lights: [{name: key, position_m: [0, 0, 2], width_m: 1, height_m: 1, radiance: 5}]
  lights: [{kind: sphere, name: bulb, position_m: [0, 0, 1], radius_m: 0.1, radiance: 5}]
  objects: [{name: crates, assets: crate, placement: {kind: scatter, x_m: 0, y_m: 0}}]
"""
CRATES: list[str | int] = ["randomization", "objects", 0]
EYE: list[str | int] = ["cameras", 0, "placement", "eye", 0]
PLACEMENT: list[str | int] = [*CRATES, "placement"]


def told(path: list[str | int], value: str) -> list[tuple[str, str]]:
    """Problems of the spec with one value, as YAML, in another's place."""
    spec: Any = yaml.safe_load(SPEC)
    part = spec
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = yaml.safe_load(value)
    with pytest.raises(ValidationError) as caught:
        Spec.model_validate(copy.deepcopy(spec))
    return problems(caught.value)


NAN, INF = "must be a finite number, found nan", "must be a finite number, found inf"
BOX = "{kind: drop, into: {x_m: %s, y_m: [0, 1], z_m: [0, 1]}}"


@pytest.mark.parametrize(
    ("path", "value", "field", "words"),
    [
        (EYE, ".nan", "cameras[0].placement.eye[0]", NAN),
        (EYE, "{uniform: [0, .inf]}", "cameras[0].placement.eye[0].uniform.high", INF),
        (EYE, "{choice: [1, .nan]}", "cameras[0].placement.eye[0].choice.values[1]", NAN),
        (EYE, "{weighted: {1: .inf}}", "cameras[0].placement.eye[0].choice.weights[0]", INF),
        (["cameras", 0, "near_m"], ".inf", "cameras[0].near_m", INF),
        (["fps"], ".nan", "fps", NAN),
        ([*CRATES, "scale"], ".nan", "randomization.objects[0].scale", NAN),
        (PLACEMENT, BOX % "[.nan, 0]", "randomization.objects[0].placement.into.x_m[0]", NAN),
        (
            ["randomization", "lights", 0, "radius_m"],
            ".nan",
            "randomization.lights[0].radius_m",
            NAN,
        ),
        (["randomization", "values"], "{a: .nan}", "randomization.values.a", NAN),
        (
            ["randomization", "joint"],
            "[{name: w, columns: [a], rows: [[.nan]]}]",
            "randomization.joint[0].rows[0][0]",
            NAN,
        ),
    ],
)
def test_numbers_that_are_none_are_refused_once(
    path: list[str | int], value: str, field: str, words: str
) -> None:
    assert told(path, value) == [(field, words)]


FIRST = "the smallest value must come first, found [1, -1]: write [-1, 1]"


@pytest.mark.parametrize(
    ("path", "value", "field", "words"),
    [
        (["randomization", "region"], "{x_m: [1, -1]}", "randomization.region.x_m", FIRST),
        (PLACEMENT, BOX % "[1, -1]", "randomization.objects[0].placement.into.x_m", FIRST),
        (
            PLACEMENT,
            "{kind: grid, x_m: [1, -1], y_m: [0, 1], rows: 1, columns: 1}",
            "randomization.objects[0].placement.x_m",
            FIRST,
        ),
        (
            ["cameras", 0, "placement"],
            "{kind: inside_volume, x_m: [1, -1], y_m: [0, 1], z_m: [0, 1]}",
            "cameras[0].placement.x_m",
            FIRST,
        ),
        (
            PLACEMENT,
            BOX % "[1, 1]",
            "randomization.objects[0].placement.into.x_m",
            "must have an extent, found [1, 1]: move its ends apart",
        ),
        (
            EYE,
            "{uniform: [2, 1]}",
            "cameras[0].placement.eye[0].uniform",
            "high (1) is below low (2): swap them",
        ),
        (
            EYE,
            "{normal: {mean: 0, deviation: 1, low: 2, high: 1}}",
            "cameras[0].placement.eye[0].normal",
            "high (1) is below low (2): swap them",
        ),
        (
            ["cameras", 0, "near_m"],
            "5000",
            "cameras[0]",
            "near_m must be below far_m, found 5000 and 1000: nothing would be seen",
        ),
        (
            PLACEMENT,
            "{kind: along_wall, walls: [{name: w, start_m: [1, 0], end_m: [1, 0]}]}",
            "randomization.objects[0].placement.walls[0]",
            "a wall leads from one point to another, both are (1.0, 0.0)",
        ),
    ],
)
def test_what_is_the_wrong_way_round_is_refused(
    path: list[str | int], value: str, field: str, words: str
) -> None:
    assert told(path, value) == [(field, words)]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (EYE, "1e39", "can draw '1e39': write 1.0e+39, YAML reads 1e39 as text"),
        (EYE, "1.0e+39", "can draw 1e+39, which no float32 holds: at most 3.4e+38"),
        (EYE, "{log_uniform: [0, 1]}", "Input should be greater than 0, found 0"),
        (["cameras", 0, "width_px"], "0", "greater than or equal to 1, found 0"),
        (EYE, "[1, 2]", "Input should be a valid dictionary"),
        (EYE, "{choice: [{}]}", "must be a number, a name or a truth value"),
    ],
)
def test_it_is_said_what_was_found(path: list[str | int], value: str, words: str) -> None:
    ((_, found),) = told(path, value)
    assert words in found


def test_thousands_of_wrong_values_are_told_shortly() -> None:
    many = ", ".join([".nan"] * 3000)
    assert len(told(EYE, f"{{choice: [{many}]}}")) <= 200
