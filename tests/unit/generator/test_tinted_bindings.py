"""Materials of the stage, tinted for a frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pxr import Usd

from simcloud.scene.translate.usd import read_scene
from simcloud.spec.draws import Draws
from simcloud.spec.model import Randomization
from simcloud.spec.parameters import MaterialBinding, Vector3
from simcloud_generator.backends.frame_scene import FrameResolver, FrameScene
from simcloud_generator.backends.isaac.frame_layer import FrameLayer
from support.scenes import furnished_frame, furnished_stage

FLOOR = "/World/Room/Floor"
BLUE = "/World/Looks/blue"
DIM: Vector3 = (0.5, 0.5, 0.25)
FRAME = replace(furnished_frame(), bindings=(MaterialBinding(FLOOR, BLUE, DIM),))


def tint_of(frame: FrameScene, path: str) -> tuple[str, Vector3 | None]:
    [part] = [part for group in frame.groups for part in group.parts if part.mesh.path == path]
    return part.material.path, part.tint_rgb


def test_a_binding_tints_its_prim_and_no_other(tmp_path: Path) -> None:
    resolver = FrameResolver(read_scene(furnished_stage(tmp_path)))
    frame = resolver.resolve(FRAME)
    assert tint_of(frame, FLOOR) == (BLUE, DIM)
    assert tint_of(frame, "/World/Room/Pit")[1] is None
    assert tint_of(resolver.resolve(replace(FRAME, bindings=())), FLOOR)[1] is None


def test_the_tints_of_an_object_and_of_its_binding_multiply(tmp_path: Path) -> None:
    resolver = FrameResolver(read_scene(furnished_stage(tmp_path)))
    binding = MaterialBinding("/World/Objects/b", BLUE, DIM)
    frame = resolver.resolve(replace(FRAME, bindings=(binding,)))
    [group] = [group for group in frame.groups if group.name == "b"]
    assert {part.tint_rgb for part in group.parts} == {(0.25, 0.5, 0.125)}


def test_isaacs_prims_have_the_same_colours_and_lose_them_again(tmp_path: Path) -> None:
    path = furnished_stage(tmp_path)
    scene = read_scene(path)
    stage = Usd.Stage.Open(str(path))
    layer = FrameLayer(stage, scene)
    resolver = FrameResolver(scene)

    def floor_color(serial: int, bindings: tuple[MaterialBinding, ...]) -> Vector3:
        parameters = replace(FRAME, bindings=bindings)
        layer.apply(parameters, resolver.resolve(parameters), serial)
        authored = tmp_path / f"authored{serial}.usda"
        stage.Flatten().Export(str(authored))
        read = read_scene(authored)
        [mesh] = [mesh for mesh in read.static if mesh.path == FLOOR]
        return read.materials[mesh.material].base_color

    assert floor_color(0, FRAME.bindings) == pytest.approx((0.05, 0.05, 0.175), rel=1e-5)
    assert floor_color(1, (MaterialBinding(FLOOR, BLUE),)) == pytest.approx((0.1, 0.1, 0.7))
    assert floor_color(2, ()) == pytest.approx((0.7, 0.1, 0.1))
    layer.close()


def test_a_material_of_a_spec_has_a_tint_of_its_own() -> None:
    part = Randomization.model_validate(
        {
            "materials": [
                {
                    "name": "floor",
                    "prims": [FLOOR],
                    "material": BLUE,
                    "tint": [{"uniform": [0, 1]}, 1, 0.5],
                }
            ]
        }
    )
    [choice] = part.materials
    assert choice.tint is not None
    draws = Draws(1, 0)
    red, green, blue = draws.vector("material.floor.tint", choice.tint)
    assert (green, blue) == (1, 0.5)
    assert draws.values == {"material.floor.tint.x": red}
