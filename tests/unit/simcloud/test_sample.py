"""Sampling is pure: equal everywhere, untouched by what else is in the spec, free of collisions."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from simcloud.errors import InvalidRequest
from simcloud.spec.footprint import Footprint
from simcloud.spec.model import Spec
from simcloud.spec.parameters import FrameParameters, PlacedObject, Vector3
from simcloud.spec.sample import sample
from support.scene_contents import EmptyScene

SIZES: dict[str, Vector3] = {
    "couch": (2.0, 0.9, 0.8),
    "chair": (0.5, 0.55, 0.9),
    "cabinet": (1.5, 0.5, 0.5),
    "tv": (0.8, 0.15, 0.5),
    "rug": (2.6, 1.7, 0.005),
    "picture": (0.6, 0.04, 0.4),
}
PRIMS: dict[str, tuple[Vector3, Vector3]] = {
    "/World/Bin": ((0.0, 0.0, 0.5), (0.6, 0.4, 0.8)),
}


class Contents(EmptyScene):
    """A scene as far as the sampler knows it."""

    def asset_size_m(self, name: str) -> Vector3:
        try:
            return SIZES[name]
        except KeyError:
            raise InvalidRequest("randomization.objects", f"no asset {name!r}") from None

    def prim_extent_m(self, path: str) -> tuple[Vector3, Vector3]:
        return PRIMS[path]

    def environment_texture(self, name: str) -> str:
        return f"hdri/{name}.exr"

    def background_picture(self, name: str) -> str:
        return f"pictures/{name}.jpg"


SCENE = Contents()
WALL = {"name": "back", "start_m": [3.3, 2.4], "end_m": [-3.3, 2.4]}


def group(name: str, asset: str, count: object, placement: dict[str, object]) -> dict[str, object]:
    return {"name": name, "assets": asset, "count": count, "placement": placement}


GROUPS: list[dict[str, object]] = [
    group("wall", "couch", {"integer": [1, 3]}, {"kind": "along_wall", "walls": [WALL]}),
    group(
        "free",
        "chair",
        {"integer": [2, 6]},
        {"kind": "scatter", "x_m": {"uniform": [-3, 3]}, "y_m": {"uniform": [-1.5, 2]}},
    ),
    group("stand", "cabinet", 1, {"kind": "along_wall", "walls": [WALL]}) | {"priority": 10},
    group("screen", "tv", 1, {"kind": "on_top", "support": "stand"}),
    group("carpet", "rug", 1, {"kind": "scatter", "x_m": 0, "y_m": 0}) | {"solid": False},
    group("art", "picture", 2, {"kind": "on_wall", "walls": [WALL], "height_m": 1.5}),
]
CAMERA = {
    "name": "main",
    "width_px": 64,
    "height_px": 48,
    "horizontal_fov_deg": {"uniform": [50, 60]},
    "placement": {
        "kind": "look_at",
        "eye": [{"uniform": [-1, 1]}, {"uniform": [-4, -3]}, {"normal": [1.4, 0.2]}],
        "target": [0, 0, 0.4],
    },
}


def make_spec(groups: list[dict[str, object]] = GROUPS, seed: int = 1) -> Spec:
    return Spec.model_validate(
        {
            "seed": seed,
            "scene": {"root": "stage.usda"},
            "cameras": [CAMERA],
            "randomization": {
                "region": {"x_m": [-3.3, 3.3], "y_m": [-2.4, 2.4]},
                "dome": {
                    "environments": {"choice": ["lobby", "studio"]},
                    "intensity": {"log_uniform": [0.5, 2]},
                },
                "materials": [
                    {
                        "name": "floor",
                        "prims": ["/World/Room/Floor"],
                        "material": {"weighted": {"/World/Looks/a": 1, "/World/Looks/b": 3}},
                    }
                ],
                "rect_lights": [
                    {
                        "name": "key",
                        "position_m": [0, 0, 2.7],
                        "width_m": 1.8,
                        "height_m": 0.9,
                        "radiance": {"uniform": [4, 10]},
                        "temperature_k": {"uniform": [3000, 7000]},
                    }
                ],
                "objects": groups,
            },
        }
    )


def footprint(placed: PlacedObject) -> Footprint:
    import math

    width, depth, height = SIZES[placed.asset]
    yaw = math.degrees(2 * math.atan2(placed.orientation_wxyz[3], placed.orientation_wxyz[0]))
    x, y, z = placed.position_m
    return Footprint(x, y, width, depth, yaw, z, z + height)


def test_golden_values_do_not_move() -> None:
    # These are the contract: a change here makes every stored run impossible to resume.
    parameters = sample(make_spec(), SCENE, 7)
    assert parameters.render_seed == GOLDEN_SEED
    assert {key: parameters.values[key] for key in GOLDEN} == GOLDEN
    chair = next(item for item in parameters.objects if item.name == "free_00")
    assert chair.position_m == GOLDEN_CHAIR


GOLDEN_SEED = 174266583
GOLDEN: dict[str, object] = {
    "camera.main.eye.z": 0.9941380023956299,
    "camera.main.horizontal_fov_deg": 58.83123779296875,
    "dome.environment": "lobby",
    "dome.intensity": 1.1321454048156738,
    "light.key.temperature_k": 3250.97265625,
    "material.floor": "/World/Looks/b",
    "objects.free.count": 4,
}
GOLDEN_CHAIR = (-1.512350082397461, -0.4654390215873718, 0.004999999888241291)


@given(st.permutations(GROUPS), st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_reordering_groups_changes_nothing(groups: list[dict[str, object]], frame: int) -> None:
    assert sample(make_spec(groups), SCENE, frame) == sample(make_spec(), SCENE, frame)


@given(st.integers(0, 200))
@settings(max_examples=30, deadline=None)
def test_adding_a_randomizer_changes_no_other_value(frame: int) -> None:
    added = group(
        "more",
        "chair",
        3,
        {"kind": "scatter", "x_m": {"uniform": [-3, 3]}, "y_m": {"uniform": [-2, 2]}},
    ) | {"priority": 900}
    before = sample(make_spec(), SCENE, frame)
    after = sample(make_spec([added, *GROUPS]), SCENE, frame)
    assert {name: after.values[name] for name in before.values} == before.values
    kept = [item for item in after.objects if not item.name.startswith("more")]
    # The tv is placed after the floor is full, and asks for no floor.
    assert kept == list(before.objects)


@given(st.integers(0, 10_000), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_objects_never_interpenetrate_and_stay_in_the_room(frame: int, seed: int) -> None:
    parameters = sample(make_spec(seed=seed), SCENE, frame)
    boxes = [(item, footprint(item)) for item in parameters.objects]
    solid = [(item, box) for item, box in boxes if item.asset != "rug"]
    for (one, left), (other, right) in itertools.combinations(solid, 2):
        assert not left.collides(right, 0.0), f"{one.name} and {other.name}"
    for item, box in boxes:
        for x, y in box.corners():
            assert abs(x) <= 3.3001, item.name
            assert abs(y) <= 2.4001, item.name


@given(st.integers(0, 500))
@settings(max_examples=30, deadline=None)
def test_furniture_along_a_wall_faces_the_room(frame: int) -> None:
    for item in sample(make_spec(), SCENE, frame).objects:
        if item.name.startswith(("wall", "stand", "art")):
            box = footprint(item)
            (_, _), (vx, vy) = box.axes()
            assert (vx, vy) == pytest.approx((0.0, 1.0), abs=1e-5)  # its back, +Y, to the wall


@given(st.integers(0, 500))
@settings(max_examples=20, deadline=None)
def test_the_screen_stands_on_the_cabinet(frame: int) -> None:
    by_name = {item.name: item for item in sample(make_spec(), SCENE, frame).objects}
    if "screen_00" in by_name:
        assert by_name["screen_00"].position_m[2] == pytest.approx(
            footprint(by_name["stand_00"]).top, abs=1e-5
        )
        assert footprint(by_name["screen_00"]).inside(footprint(by_name["stand_00"]))


def test_a_support_is_placed_before_what_stands_on_it_whatever_their_names() -> None:
    tower = [
        group("c", "cabinet", 1, {"kind": "scatter", "x_m": 0, "y_m": 0}),
        group("b", "tv", 1, {"kind": "on_top", "support": "c", "along": 0}),
        group("a", "tv", 1, {"kind": "on_top", "support": "b", "along": 0}) | {"scale": 0.5},
    ]
    for groups in itertools.permutations(tower):
        found = {item.name[0]: item for item in sample(make_spec(list(groups)), SCENE, 0).objects}
        heights = [found[name].position_m[2] for name in "cba"]
        assert heights == pytest.approx(
            [0.0, SIZES["cabinet"][2], SIZES["cabinet"][2] + SIZES["tv"][2]]
        )


@pytest.mark.parametrize(
    ("supports", "words"),
    [
        ({"a": "a"}, "a stands on itself: a -> a"),
        ({"a": "b", "b": "a"}, "a stands on itself: a -> b -> a"),
    ],
)
def test_what_stands_on_itself_is_refused(supports: dict[str, str], words: str) -> None:
    groups = [
        group(name, "tv", 1, {"kind": "on_top", "support": support})
        for name, support in supports.items()
    ]
    with pytest.raises(ValidationError, match=words):
        make_spec(groups)


def test_what_stands_on_a_rug_is_raised_by_its_height() -> None:
    seen = 0
    for frame in range(20):
        objects = sample(make_spec(), SCENE, frame).objects
        rug = footprint(next(item for item in objects if item.asset == "rug"))
        for item in objects:
            if item.asset == "chair":
                over = footprint(item).covers(rug)
                assert item.position_m[2] == pytest.approx(0.005 if over else 0.0, abs=1e-6)
                seen += over
    assert seen > 0


def test_the_index_gets_the_same_names_in_every_frame() -> None:
    names = {tuple(sample(make_spec(), SCENE, frame).values) for frame in range(20)}
    assert len(names) == 1
    assert "objects.free.count" in names.pop()


def test_an_unknown_asset_is_refused_by_name() -> None:
    spec = make_spec([group("x", "sofa9", 1, {"kind": "scatter", "x_m": 0, "y_m": 0})])
    with pytest.raises(InvalidRequest, match="sofa9"):
        sample(spec, SCENE, 0)


def test_a_camera_on_its_own_target_is_refused() -> None:
    spec = make_spec().model_dump(mode="json")
    spec["cameras"][0]["placement"]["eye"] = [0, 0, 0.4]
    with pytest.raises(InvalidRequest, match="cameras"):
        sample(Spec.model_validate(spec), SCENE, 0)


_PRINT = """
import sys
sys.path[:0] = sys.argv[1:]
from test_sample import SCENE, make_spec
from simcloud.spec.sample import sample
for frame in range(25):
    print(repr(sample(make_spec(), SCENE, frame)))
"""


def _printed(environment: dict[str, str]) -> str:
    here = Path(__file__).parent
    return subprocess.run(
        [sys.executable, "-c", _PRINT, str(here), str(here.parents[1])],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_values_are_equal_whatever_the_cpu_offers() -> None:
    here = [repr(sample(make_spec(), SCENE, frame)) for frame in range(25)]
    plain = _printed(
        {
            "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX",
            "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F,-FMA4",
            "PYTHONHASHSEED": "7",
        }
    )
    assert plain.splitlines() == here


def test_every_float_is_a_float32() -> None:
    from simcloud.spec.distributions import to_float32

    def floats(value: object) -> list[float]:
        if isinstance(value, float):
            return [value]
        if isinstance(value, tuple):
            return [number for item in value for number in floats(item)]
        if isinstance(value, dict):
            return [number for item in value.values() for number in floats(item)]
        if hasattr(value, "__dataclass_fields__"):
            return [
                number
                for name in value.__dataclass_fields__
                for number in floats(getattr(value, name))
            ]
        return []

    parameters: FrameParameters = sample(make_spec(), SCENE, 3)
    assert all(number == to_float32(number) for number in floats(parameters))
