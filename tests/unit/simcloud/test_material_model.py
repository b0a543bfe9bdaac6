"""Materials of a spec: what is refused, what is drawn, and under which names."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from simcloud.errors import InvalidRequest
from simcloud.spec.canonical import canonical_json, problems
from simcloud.spec.check import check_against_scene
from simcloud.spec.model import Spec
from simcloud.spec.parameters import Finish, FrameParameters
from simcloud.spec.sample import sample
from support.scene_contents import EmptyScene

OAK, STEEL, WOOD = "/World/Looks/oak", "/Library/can/Looks/steel", "/Library/crate/Looks/wood"
SHARE = {"uniform": [0.1, 0.9]}


class Contents(EmptyScene):
    """A floor, and materials of the stage and of two assets."""

    material_paths = frozenset({OAK, STEEL, WOOD})
    geometry_paths = frozenset({"/World/Floor"})

    def picture_problem(self, path: str) -> str | None:
        return None if path.startswith("woods/") else f"no picture {path}"


SCENE = Contents()


def make(*materials: dict[str, Any], root: str = "room/stage.usda", **parts: Any) -> Spec:
    placement = {"kind": "look_at", "eye": [0, -3, 1], "target": [0, 0, 0]}
    camera = {"name": "main", "width_px": 8, "height_px": 8, "placement": placement}
    randomization = {"materials": [{"name": f"m{n}"} | one for n, one in enumerate(materials)]}
    return Spec.model_validate(
        {
            "seed": 3,
            "scene": {"root": root},
            "cameras": [camera],
            "randomization": randomization | parts,
        }
    )


def frame_of(*materials: dict[str, Any], frame: int = 0, **parts: Any) -> FrameParameters:
    return sample(make(*materials, **parts), SCENE, frame)


@pytest.mark.parametrize(
    ("material", "words"),
    [
        ({"roughness": 0.5}, "give prims or of, one of them"),
        ({"prims": ["/A"], "of": [OAK], "tint": [1, 1, 1]}, "give prims or of, one of them"),
        ({"of": [OAK], "material": OAK}, "of changes the materials that are there"),
        ({"prims": ["/World/Floor"], "each": True, "roughness": 1}, "each is for of"),
        ({"of": [OAK], "color": [1, 1, 1], "texture": "a.png"}, "give one; tint dyes both"),
        ({"of": [OAK]}, "nothing differs: give material, tint, color"),
        ({"of": [OAK], "roughness": {"uniform": [0, 1.2]}}, r"values in \[0, 1\], but can draw 1"),
        ({"of": ["Looks/oak"], "metallic": 1}, "is no path of a material, such as"),
        ({"of": [OAK], "texture": 3}, "must draw names"),
    ],
)
def test_what_makes_no_sense_is_refused(material: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        make(material)
    assert problems(caught.value)[0][0].startswith("randomization.materials[0]")


def test_materials_differ_wherever_they_are_by_one_draw() -> None:
    change = {"of": ["/Library/*/Looks/*"], "roughness": SHARE, "color": [SHARE, 0, 0]}
    found = frame_of(change, frame=4)
    assert [one.material for one in found.materials] == [STEEL, WOOD]
    steel, wood = (one.finish for one in found.materials)
    assert steel is not None
    assert steel == wood
    assert found.values["material.m0.roughness"] == steel.roughness
    assert steel.color_rgb == (found.values["material.m0.color.x"], 0, 0)
    assert (steel.metallic, steel.texture) == (None, None)
    assert frame_of(change, frame=5).materials[0].finish != steel


def test_each_material_may_draw_for_itself_whatever_the_others_are() -> None:
    change = {"of": ["/Library/*/Looks/*", OAK], "each": True, "roughness": SHARE}
    found = frame_of(change)
    values = {one.material: one.finish for one in found.materials}
    assert len(set(values.values())) == 3
    assert found.values == {
        f"material.m0.{path}.roughness": finish.roughness
        for path, finish in values.items()
        if finish is not None
    }
    (alone,) = frame_of(change | {"of": [WOOD]}).materials
    assert alone.finish == values[WOOD]


def test_what_each_material_drew_is_a_column_of_its_own() -> None:
    """So that results can be sliced by it: numbers, colours and the picture that was taken."""
    change = {
        "of": [WOOD, OAK],
        "each": True,
        "tint": [SHARE, 1, SHARE],
        "texture": {"choice": ["woods/a.png", "woods/b.png"]},
    }
    name = f"material.m0.{WOOD}"
    for frame in range(4):
        found = frame_of(change, frame=frame)
        wood = next(one for one in found.materials if one.material == WOOD)
        assert wood.finish is not None
        assert wood.tint_rgb == (found.values[f"{name}.tint.x"], 1, found.values[f"{name}.tint.z"])
        assert wood.finish.texture == found.values[f"{name}.texture"]
        assert len(found.values) == 6  # the same columns in every frame


def test_a_binding_may_leave_the_material_and_change_it() -> None:
    floor = {"prims": ["/World/Floor"], "metallic": 1, "texture": {"choice": ["woods/a.png"]}}
    (binding,) = frame_of(floor).bindings
    assert (binding.material, binding.tint_rgb) == (None, None)
    assert binding.finish == Finish(metallic=1, texture="woods/a.png")
    (binding,) = frame_of({"prims": ["/World/Floor"], "material": OAK}).bindings
    assert (binding.material, binding.finish) == (OAK, None)


def test_other_values_may_refer_to_what_was_drawn() -> None:
    wet = {"of": [OAK], "roughness": {"given": "rain", "cases": {"true": 0.1, "false": 0.8}}}
    dull = {"of": [STEEL], "roughness": {"from": "material.m0.roughness"}}
    found = frame_of(wet, dull, values={"rain": {"choice": [True, False]}})
    one, other = (change.finish for change in found.materials)
    assert one == other
    assert one is not None
    assert one.roughness == found.values["material.m0.roughness"]


def test_names_that_the_scene_lacks_are_refused_with_those_it_has() -> None:
    spec = make(
        {"of": [OAK, "/World/*/pine"], "roughness": 1},
        {"prims": ["/World/Floor"], "texture": {"choice": ["woods/a.png", "b.png"]}},
    )
    found = dict(check_against_scene(spec, SCENE))
    assert "no material '/World/*/pine'; it has: " + STEEL in found.pop(
        "randomization.materials[0].of[1]"
    )
    assert found == {"randomization.materials[1].texture": "no picture b.png"}
    with pytest.raises(InvalidRequest, match="the scene has no material /World/None"):
        frame_of({"of": ["/World/None"], "roughness": 1})


@pytest.mark.parametrize("texture", ["../../etc/x.png", "/etc/x.png", "s3://b/x.png", "woods/"])
def test_pictures_outside_the_scene_are_never_opened(texture: str) -> None:
    spec = make({"of": [OAK], "texture": texture})
    ((field, words),) = check_against_scene(spec, SCENE)
    assert field == "randomization.materials[0].texture"
    assert f"{texture} is no picture of the scene" in words
    with pytest.raises(InvalidRequest, match="is no picture of the scene"):
        sample(spec, SCENE, 0)


def test_what_is_unset_is_not_in_the_canonical_form() -> None:
    """So that specs from before these fields keep their digest."""
    (plain,) = json.loads(canonical_json(make({"prims": ["/A"], "material": OAK})))[
        "randomization"
    ]["materials"]
    assert plain.keys() == {"name", "prims", "material", "tint"}
