"""Materials that differ in a frame: resolved, in the renderer's rows, and as Isaac's prims."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pxr import Sdf, Usd, UsdShade

from simcloud.errors import InvalidRequest
from simcloud.scene.translate.types import Material
from simcloud.scene.translate.usd import read_scene
from simcloud.spec.parameters import (
    Finish,
    FrameParameters,
    MaterialBinding,
    MaterialChange,
    Vector3,
)
from simcloud_generator.backends.frame_materials import Part
from simcloud_generator.backends.frame_scene import FrameResolver
from simcloud_generator.backends.isaac.frame_layer import FrameLayer
from support import scenes

FLOOR, TRIM = "/World/Room/Floor", "/World/Room/Trim"
SLATE, WEAVE, PBR = "/World/Looks/slate", "/World/Looks/weave", "/World/Looks/pbr"
DULL = Finish(roughness=0.875, metallic=0.25)


def picture(path: Path, value: int) -> None:
    assert cv2.imwrite(str(path), np.full((4, 4, 3), value, np.uint8))


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A floor of textured slate, a trim of OmniPBR, a cloth of display colour; pictures beside."""
    folder = tmp_path_factory.mktemp("room")
    for name, value in (("slate.png", 90), ("rough.png", 128), ("oak.png", 200)):
        picture(folder / name, value)
    stage = scenes.new_stage()
    slate = scenes.add_material(stage, SLATE)
    scenes.add_texture(slate, "diffuseColor", "./slate.png", "rgb")
    scenes.add_texture(slate, "roughness", "./rough.png", "r")
    floor = scenes.add_quad(stage, FLOOR, label="floor")
    scenes.set_uv(floor, [(0, 0), (1, 0), (1, 1), (0, 1)], "vertex")
    UsdShade.MaterialBindingAPI.Apply(floor.GetPrim()).Bind(slate)
    trim = scenes.add_quad(stage, TRIM, z=0.1)
    UsdShade.MaterialBindingAPI.Apply(trim.GetPrim()).Bind(omnipbr(stage))
    cloth = scenes.add_quad(stage, "/World/Room/Cloth", z=0.2)
    cloth.CreateDisplayColorAttr([(0.2, 0.4, 0.6)])
    scenes.set_uv(cloth, [(0, 0), (1, 0), (1, 1), (0, 1)], "vertex")
    return scenes.save(stage, folder)


def omnipbr(stage: Any) -> Any:
    material = UsdShade.Material.Define(stage, PBR)
    shader = UsdShade.Shader.Define(stage, f"{PBR}/Shader")
    shader.SetSourceAsset(Sdf.AssetPath("OmniPBR.mdl"), "mdl")
    shader.SetSourceAssetSubIdentifier("OmniPBR", "mdl")
    kinds = Sdf.ValueTypeNames
    shader.CreateInput("diffuse_color_constant", kinds.Color3f).Set((0.5, 0.5, 0.5))
    shader.CreateInput("reflection_roughness_constant", kinds.Float).Set(0.25)
    output = shader.CreateOutput("out", kinds.Token)
    material.CreateSurfaceOutput("mdl").ConnectToSource(output)
    return material


def frame_of(*changes: MaterialChange | MaterialBinding) -> FrameParameters:
    return FrameParameters(
        frame=0,
        render_seed=1,
        bindings=tuple(one for one in changes if isinstance(one, MaterialBinding)),
        materials=tuple(one for one in changes if isinstance(one, MaterialChange)),
    )


def part_of(resolver: FrameResolver, path: str, *changes: MaterialChange | MaterialBinding) -> Part:
    frame = resolver.resolve(frame_of(*changes))
    [part] = [part for group in frame.groups for part in group.parts if part.mesh.path == path]
    return part


def test_a_change_counts_wherever_the_material_is_and_nowhere_else(room: Path) -> None:
    resolver = FrameResolver(read_scene(room))
    found = part_of(resolver, FLOOR, MaterialChange(SLATE, (0.5, 1, 1), DULL)).material
    assert (found.roughness, found.metallic, found.roughness_texture) == (0.875, 0.25, None)
    assert found.base_color_texture is not None
    assert found.base is not None
    assert found.base.path == SLATE
    assert part_of(resolver, TRIM, MaterialChange(SLATE, None, DULL)).material.base is None
    assert part_of(resolver, FLOOR).material.path == SLATE


def test_a_binding_counts_more_than_the_change_of_its_material(room: Path) -> None:
    resolver = FrameResolver(read_scene(room))
    part = part_of(
        resolver,
        TRIM,
        MaterialBinding(TRIM, SLATE, (0.5, 0.5, 0.5), Finish(roughness=0.5)),
        MaterialChange(SLATE, (0.5, 1, 1), DULL),
        MaterialChange(PBR, None, Finish(roughness=0)),
    )
    assert (part.material.roughness, part.material.metallic) == (0.5, 0.25)
    assert part.tint_rgb == (0.25, 0.5, 0.5)
    kept = part_of(resolver, TRIM, MaterialBinding(TRIM, None, None, Finish(metallic=1)))
    assert (kept.material.roughness, kept.material.metallic) == (0.25, 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (MaterialChange("/World/Looks/gone", None, DULL), "has no material /World/Looks/gone"),
        (MaterialChange(SLATE, None, Finish(roughness=1.5)), r"in \[0, 1\], found 1.5"),
        (MaterialChange(SLATE, None, Finish(texture="gone.png")), "gone.png is not there"),
        (MaterialChange(SLATE, None, Finish(texture="stage.usda")), "the picture stage.usda: "),
    ],
)
def test_what_cannot_be_drawn_is_refused(room: Path, change: MaterialChange, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        part_of(FrameResolver(read_scene(room)), FLOOR, change)


CLOTH = "/World/Room/Cloth"
CHANGES: list[tuple[str, Finish, Vector3 | None]] = [
    (FLOOR, DULL, None),
    (FLOOR, Finish(color_rgb=(0.25, 0.5, 0.75)), (0.5, 0.5, 0.5)),
    (FLOOR, Finish(texture="oak.png", roughness=0.125), None),
    (FLOOR, Finish(texture="oak.png"), (0.5, 1.0, 1.0)),
    (TRIM, DULL, (0.5, 0.5, 0.5)),
    (TRIM, Finish(color_rgb=(0.25, 0.5, 0.75)), None),
    (TRIM, Finish(texture="oak.png"), None),
    (CLOTH, DULL, (0.5, 0.5, 0.5)),
    (CLOTH, Finish(texture="oak.png"), None),
]


@pytest.mark.parametrize(("path", "finish", "tint"), CHANGES)
def test_isaacs_prims_look_the_same(
    room: Path, path: str, finish: Finish, tint: Vector3 | None, tmp_path: Path
) -> None:
    scene = read_scene(room)
    stage = Usd.Stage.Open(str(room))
    layer = FrameLayer(stage, scene)
    parameters = frame_of(MaterialBinding(path, None, tint, finish))
    frame = FrameResolver(scene).resolve(parameters)
    layer.apply(parameters, frame, 0)
    assert [one for one in layer.problems if "light" not in one] == []
    stage.Flatten().Export(str(tmp_path / "authored.usda"))
    layer.close()
    read = read_scene(tmp_path / "authored.usda")
    [mesh] = [mesh for mesh in read.static if mesh.path == path]
    [part] = [part for group in frame.groups for part in group.parts if part.mesh.path == path]
    assert seen(read.materials[mesh.material], (1, 1, 1)) == seen(part.material, tint or (1, 1, 1))


def seen(material: Material, tint: Vector3) -> dict[str, object]:
    """What of a material a picture depends on; not a colour that a texture covers."""
    texture = material.base_color_texture
    color: object = [round(v * t, 5) for v, t in zip(material.base_color, tint, strict=True)]
    if texture is not None:
        scale = [round(v * t, 5) for v, t in zip(texture.scale, tint, strict=True)]
        color = (Path(texture.path).name, texture.srgb, texture.wrap, scale)
    rough, metal = material.roughness_texture, material.metallic_texture
    return {
        "color": color,
        "roughness": round(material.roughness, 5) if rough is None else Path(rough.path).name,
        "metallic": round(material.metallic, 5) if metal is None else Path(metal.path).name,
        "normal": material.normal_texture,
    }


def test_a_frame_after_the_other_leaves_nothing_behind(room: Path, tmp_path: Path) -> None:
    scene = read_scene(room)
    stage = Usd.Stage.Open(str(room))
    layer, resolver = FrameLayer(stage, scene), FrameResolver(scene)
    for serial, changes in enumerate([(MaterialChange(SLATE, None, DULL),), ()]):
        parameters = frame_of(*changes)
        layer.apply(parameters, resolver.resolve(parameters), serial)
    stage.Flatten().Export(str(tmp_path / "after.usda"))
    layer.close()
    after = read_scene(tmp_path / "after.usda")
    [mesh] = [mesh for mesh in after.static if mesh.path == FLOOR]
    own = replace(scene.materials[SLATE], base=None)
    assert mesh.material == SLATE
    assert seen(after.materials[SLATE], (1, 1, 1)) == seen(own, (1, 1, 1))
