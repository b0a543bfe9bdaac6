"""Things larger than the region that they are dropped into."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from simcloud.errors import InvalidRequest
from simcloud.geometry import box_corners, pose_matrix, transform_points
from simcloud.spec.check import check_against_scene
from simcloud.spec.drop_fit import fits
from simcloud.spec.model import Spec
from simcloud.spec.parameters import FrameParameters, Vector3
from simcloud.spec.sample import sample
from support.scene_contents import EmptyScene

SIZES: dict[str, Vector3] = {"die": (0.05, 0.05, 0.05), "rod": (0.9, 0.04, 0.04)}
BOX = {"x_m": [0, 0.5], "y_m": [0, 0.3], "z_m": [0, 0.2]}


class Contents(EmptyScene):
    """A die, a rod, a bin of two sizes and a tray of the stage."""

    asset_names = frozenset({*SIZES, "bin"})
    geometry_paths = frozenset({"/World/Tray"})

    def asset_size_m(self, name: str) -> Vector3:
        return SIZES.get(name, (0.1, 0.2, 0.1))

    def prim_extent_m(self, path: str) -> tuple[Vector3, Vector3]:
        if path != "/World/Tray":
            raise InvalidRequest("prim", path)
        return (1.0, 1.0, 0.0), (1.03, 1.2, 0.1)


SCENE = Contents()


def make(into: Any = BOX, asset: str = "die", scale: Any = 1, **drop: Any) -> Spec:
    placement = {"kind": "look_at", "eye": [0, -3, 1], "target": [0, 0, 0]}
    heap = {
        "name": "heap",
        "assets": asset,
        "count": 6,
        "scale": scale,
        "placement": {"kind": "drop", "into": into, **drop},
    }
    bins = {"name": "bins", "assets": "bin", "scale": {"uniform": [1, 3]}, "count": 1}
    stand = {"kind": "scatter", "x_m": 0, "y_m": 0}
    return Spec.model_validate(
        {
            "scene": {"root": "stage.usda"},
            "cameras": [{"name": "a", "width_px": 8, "height_px": 8, "placement": placement}],
            "randomization": {"objects": [heap, bins | {"placement": stand}]},
        }
    )


def frame_of(frame: int = 0, **spec: Any) -> FrameParameters:
    return sample(make(**spec), SCENE, frame)


@pytest.mark.parametrize(
    ("inner", "outer", "does"),
    [
        ((1, 2), (2, 1), True),
        ((1, 2), (1.9, 1), False),
        ((1.02, 1.01), (1, 5), False),
        ((1.3, 0.05), (1, 1), True),  # aslant: the diagonal is 1.414
        ((1.41, 0.05), (1, 1), False),
    ],
)
def test_a_rectangle_fits_straight_or_aslant(
    inner: tuple[float, float], outer: tuple[float, float], does: bool
) -> None:
    assert fits(inner, outer) is does
    assert fits((inner[1], inner[0]), outer) is does


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"scale": 7}, "die takes up at least 0.35 x 0.35 m however it lies (scale 7), the region"),
        ({"scale": {"uniform": [7, 9]}}, "(scale 7), the region is 0.5 x 0.3 m: make the region"),
        ({"into": "/World/Tray"}, "the region is 0.03 x 0.2 m"),
        ({"into": "bins", "scale": 7}, "the region is 0.3 x 0.6 m"),
    ],
)
def test_what_never_fits_is_refused(spec: dict[str, Any], words: str) -> None:
    ((field, told),) = check_against_scene(make(**spec), SCENE)
    assert field == "randomization.objects[0].placement.into"
    assert words in told


@pytest.mark.parametrize(
    "spec",
    [
        {"scale": 6},
        {"scale": {"uniform": [1, 9]}},
        {"asset": "rod"},
        {"into": "bins", "scale": 5},
        {"into": "/World/Tray", "walls": "none"},
    ],
)
def test_what_may_fit_is_taken(spec: dict[str, Any]) -> None:
    assert check_against_scene(make(**spec), SCENE) == []


def test_what_is_too_large_in_a_frame_is_left_out_and_counted() -> None:
    seen = set()
    for frame in range(20):
        found = frame_of(frame, scale={"choice": [1, 7]})
        heap = [item for item in found.objects if item.group == "heap"]
        assert all(item.scale == 1 for item in heap)
        assert found.values["objects.heap.count"] == len(heap)
        assert found.values["objects.heap.dropped_out"] == 6 - len(heap)
        seen.add(len(heap))
    assert len(seen) > 2


def test_long_things_hang_such_that_they_pass_between_the_walls() -> None:
    turned = 0
    for frame in range(10):
        for item in (item for item in frame_of(frame, asset="rod").objects if item.fall):
            pose = pose_matrix(item.position_m, item.orientation_wxyz, item.scale)
            corners = transform_points(pose, box_corners((-0.45, -0.02, 0), (0.45, 0.02, 0.04)))
            low, high = corners.min(axis=0), corners.max(axis=0)
            assert (low[:2] >= [-1e-4, -1e-4]).all()
            assert (high[:2] <= [0.5001, 0.3001]).all()
            turned += 1
    assert turned > 50


def test_a_stated_orientation_is_kept_or_the_thing_left_out() -> None:
    upright = frame_of(asset="rod", orientation={"pitch_deg": 90})
    assert upright.values["objects.heap.dropped_out"] == 0
    lying = frame_of(asset="rod", orientation={})
    assert lying.values["objects.heap.dropped_out"] == 6
    item = next(item for item in upright.objects if item.group == "heap")
    assert math.isclose(abs(item.orientation_wxyz[0]), math.sqrt(0.5), rel_tol=1e-5)


@pytest.mark.parametrize("kind", ["on_top", "shelf"])
def test_nothing_stands_on_what_is_dropped(kind: str) -> None:
    raw = make().model_dump(mode="json")
    more = {"levels": [0.1], "spacing_m": 1} if kind == "shelf" else {}
    placement = {"kind": kind, "support": "heap", **more}
    raw["randomization"]["objects"].append({"name": "hat", "assets": "die", "placement": placement})
    with pytest.raises(ValidationError, match="hat stands on 'heap', whose own objects are") as got:
        Spec.model_validate(raw)
    assert "drop it into the same region, or place heap without drop" in str(got.value)
