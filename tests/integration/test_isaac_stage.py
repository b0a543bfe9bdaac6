"""A frame's edits on real stages: what is composed, what changes, what is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pxr import Gf, Sdf, Tf, Usd, UsdGeom, UsdLux, UsdShade, Vt

from simcloud.errors import InvalidRequest
from simcloud.scene.semantics import own_label
from simcloud.scene.translate.usd import read_scene
from simcloud.spec.parameters import (
    DistantLight,
    DomeLight,
    FrameParameters,
    MaterialBinding,
    PlacedObject,
    RectLight,
    SphereLight,
)
from simcloud_generator.backends.frame_scene import FrameResolver
from simcloud_generator.backends.isaac.frame_layer import FrameLayer
from support.scenes import (
    add_cube,
    add_library_asset,
    add_material,
    add_mesh,
    add_quad,
    add_texture,
    bind,
    camera,
    frame,
    new_stage,
    save,
    set_label,
    set_uv,
)

TINT = (0.5, 0.25, 1.0)


class Edited:
    """A stage, and frames written into it."""

    def __init__(self, path: Path) -> None:
        self.scene = read_scene(path)
        self.stage = Usd.Stage.Open(str(path))
        self.layer = FrameLayer(self.stage, self.scene)
        self.resolver = FrameResolver(self.scene)
        self.serial = 0

    def apply(self, parameters: FrameParameters) -> None:
        self.serial += 1
        self.layer.apply(parameters, self.resolver.resolve(parameters), self.serial)

    def prim(self, path: str) -> Any:
        return self.stage.GetPrimAtPath(path)

    def shader(self, path: str) -> Any:
        """Surface shader of the material that is bound to a prim."""
        material = UsdShade.MaterialBindingAPI(self.prim(path)).ComputeBoundMaterial()[0]
        return material.ComputeSurfaceSource("")[0] or material.ComputeSurfaceSource("mdl")[0]


def two_pixels(folder: Path) -> None:
    import cv2

    cv2.imwrite(str(folder / "wood.png"), np.full((2, 2, 3), 128, np.uint8))


@pytest.fixture
def edited(tmp_path: Path) -> Iterator[Edited]:
    """Assets of every kind of material, nested labels, a dome of the stage's own."""
    two_pixels(tmp_path)
    stage = new_stage()
    red = add_material(stage, "/World/Looks/red", color=(0.8, 0.4, 0.2))
    add_material(stage, "/World/Looks/blue", color=(0.1, 0.1, 0.7))
    wood = add_material(stage, "/World/Looks/wood")
    add_texture(wood, "diffuseColor", "wood.png", "rgb")
    pbr = UsdShade.Material.Define(stage, "/World/Looks/pbr")
    shader = UsdShade.Shader.Define(stage, "/World/Looks/pbr/Shader")
    shader.SetSourceAsset(Sdf.AssetPath("OmniPBR.mdl"), "mdl")
    shader.SetSourceAssetSubIdentifier("OmniPBR", "mdl")
    shader.CreateInput("diffuse_tint", Sdf.ValueTypeNames.Color3f).Set(Gf.Vec3f(0.5, 0.5, 0.5))
    pbr.CreateSurfaceOutput("mdl").ConnectToSource(shader.ConnectableAPI(), "out")
    room = UsdGeom.Xform.Define(stage, "/World/Room")
    set_label(room.GetPrim(), "room")
    bind(add_quad(stage, "/World/Room/Floor", half=3.0, label="floor").GetPrim(), red)
    add_quad(stage, "/World/Room/Shelf", half=0.5, z=1.0)
    asset = add_library_asset(stage, "mixed", "thing")
    for index, material in enumerate((red, wood, pbr)):
        points = [(0.0, 0.0, float(index)), (1.0, 0.0, float(index)), (0.0, 1.0, float(index))]
        mesh = add_mesh(stage, f"/Library/mixed/part_{index}", points, [(0, 1, 2)])
        set_uv(mesh, [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)])
        bind(mesh.GetPrim(), material)
    plain = add_cube(stage, "/Library/mixed/plain", size=0.2, label="screw")
    plain.CreateDisplayColorAttr(Vt.Vec3fArray([Gf.Vec3f(0.4, 0.4, 0.4)]))
    assert asset
    legacy = add_library_asset(stage, "old", None)
    legacy.CreateAttribute("semantic:S:params:semanticType", Sdf.ValueTypeNames.String).Set("class")
    legacy.CreateAttribute("semantic:S:params:semanticLabel", Sdf.ValueTypeNames.String).Set("old")
    add_cube(stage, "/Library/old/Body", size=0.5)
    UsdLux.DomeLight.Define(stage, "/World/Sky").CreateIntensityAttr(2.0)
    made = Edited(save(stage, tmp_path))
    yield made
    made.layer.close()


def placed(name: str = "a", **changes: Any) -> PlacedObject:
    return replace(PlacedObject(name, "mixed", (1.0, 2.0, 0.0)), **changes)


def test_tint_multiplies_the_base_colour_of_every_kind_of_material(edited: Edited) -> None:
    edited.apply(frame(camera(), objects=(placed(tint_rgb=TINT),)))
    here = "/World/Objects/a"
    values = edited.shader(f"{here}/part_0").GetInput("diffuseColor").Get()
    assert np.allclose(values, [0.4, 0.1, 0.2])
    source = edited.shader(f"{here}/part_1").GetInput("diffuseColor").GetConnectedSource()[0]
    texture = UsdShade.Shader(source.GetPrim())
    assert str(texture.GetPath()).startswith(f"{here}/SimcloudLooks/")
    assert np.allclose(texture.GetInput("scale").Get(), [*TINT, 1.0])
    assert texture.GetInput("file").Get().resolvedPath.endswith("wood.png")
    assert np.allclose(
        edited.shader(f"{here}/part_2").GetInput("diffuse_tint").Get(), [0.25, 0.125, 0.5]
    )
    values = edited.shader(f"{here}/plain").GetInput("diffuseColor").Get()
    assert np.allclose(values, [0.2, 0.1, 0.4])
    assert edited.layer.problems == []
    assert np.allclose(
        UsdShade.Shader(edited.prim("/World/Looks/red/Surface")).GetInput("diffuseColor").Get(),
        [0.8, 0.4, 0.2],
    ), "the original is left alone"


def test_untinted_objects_keep_the_stages_own_materials(edited: Edited) -> None:
    edited.apply(frame(camera(), objects=(placed(),)))
    assert str(edited.shader("/World/Objects/a/part_0").GetPath()) == "/World/Looks/red/Surface"


def test_only_objects_carry_labels_one_each(edited: Edited) -> None:
    edited.apply(frame(camera(), objects=(placed(), PlacedObject("b", "old", (0.0, 0.0, 0.0)))))
    found = {
        str(prim.GetPath()): own_label(prim)
        for prim in edited.stage.Traverse()
        if own_label(prim) is not None
    }
    assert found == {
        "/World/Room": "room",
        "/World/Room/Floor": "floor",
        "/World/Objects/a": "thing",
        "/World/Objects/b": "old",
    }
    assert "SemanticsLabelsAPI:class" in edited.prim("/World/Objects/b").GetAppliedSchemas()


def test_poses_lights_and_cameras_are_those_of_the_frame(edited: Edited) -> None:
    half = float(np.sqrt(0.5))
    light = RectLight("lamp-1", (0.0, 0.0, 3.0), (half, half, 0.0, 0.0), 2.0, 1.0, (8.0, 4.0, 2.0))
    view = camera((0.0, -3.0, 1.0), up=(0.0, 0.0, 1.0), offset_mm=(1.0, -2.0), name="left-eye")
    turned = (half, 0.0, 0.0, half)
    parameters = replace(
        frame(view, objects=(placed(orientation_wxyz=turned, scale=2.0),)), rect_lights=(light,)
    )
    edited.apply(parameters)
    time = Usd.TimeCode.Default()
    matrix = UsdGeom.Xformable(edited.prim("/World/Objects/a")).ComputeLocalToWorldTransform(time)
    assert np.allclose(matrix.Transform(Gf.Vec3d(1, 0, 0)), [1.0, 4.0, 0.0])
    lamp = edited.prim("/Simcloud/Lights/lamp_1")
    assert lamp.IsDefined()
    emission = UsdLux.RectLight(lamp)
    assert emission.GetIntensityAttr().Get() == 8.0
    assert np.allclose(emission.GetColorAttr().Get(), [1.0, 0.5, 0.25])
    axis = UsdGeom.Xformable(lamp).ComputeLocalToWorldTransform(time).TransformDir((0, 0, -1))
    assert np.allclose(axis, [0.0, 1.0, 0.0]), "it shines along its own -Z"
    eye = UsdGeom.Camera(edited.prim("/Simcloud/Cameras/left_eye"))
    pose = np.array(eye.ComputeLocalToWorldTransform(time)).T
    assert np.allclose(pose, view.cam2world, atol=1e-6)
    assert eye.GetHorizontalApertureOffsetAttr().Get() == 1.0
    assert eye.GetVerticalApertureAttr().Get() == pytest.approx(24.0 * 48 / 64)
    assert eye.GetClippingRangeAttr().Get()[0] == pytest.approx(view.near_m)
    assert eye.GetFStopAttr().Get() == 0.0, "all of it is sharp"


def test_lights_of_other_shapes_shine_as_the_parameters_say(edited: Edited) -> None:
    sun = DistantLight("sun", (0.6, 0.0, -0.8), (3.0, 2.0, 1.0))
    bulb = SphereLight("bulb", (0.0, 0.0, 2.0), 0.1, (9.0, 9.0, 9.0))
    edited.apply(replace(frame(camera()), lights=(sun, bulb)))
    time = Usd.TimeCode.Default()
    far = edited.prim("/Simcloud/Lights/sun")
    way = UsdGeom.Xformable(far).ComputeLocalToWorldTransform(time).TransformDir((0, 0, -1))
    assert np.allclose(way, sun.direction)
    assert UsdLux.DistantLight(far).GetIntensityAttr().Get() == 3.0
    near = UsdLux.SphereLight(edited.prim("/Simcloud/Lights/bulb"))
    assert near.GetRadiusAttr().Get() == pytest.approx(0.1)
    assert not near.GetNormalizeAttr().Get()


def test_frame_in_the_dark_is_told(tmp_path: Path) -> None:
    stage = new_stage()
    add_quad(stage, "/World/Floor")
    edited = Edited(save(stage, tmp_path))
    edited.apply(frame(camera()))
    assert edited.layer.problems == [
        "/: neither the stage nor the frame has a light, so pictures are black"
    ]
    edited.layer.close()


def test_focus_distance_marks_captures_and_cannot_be_seen(edited: Edited) -> None:
    view = replace(camera(), f_stop=2.8, focus_distance_m=2.5)
    marks = [edited.layer.rig.focus_distance(view, serial) for serial in range(256)]
    assert len(set(marks)) == 256
    assert max(marks) / 2.5 - 1 < 3e-4


def test_frames_bind_materials_and_the_next_ones_take_them_back(edited: Edited) -> None:
    bound = MaterialBinding("/World/Room", "/World/Looks/blue")
    for bindings, expected in (((bound,), "blue"), ((), "red"), ((bound,), "blue")):
        edited.apply(replace(frame(camera()), bindings=bindings))
        path = str(edited.shader("/World/Room/Floor").GetPath())
        assert path == f"/World/Looks/{expected}/Surface"


def test_dome_replaces_the_stages_own_and_leaves_with_its_frame(
    edited: Edited, tmp_path: Path
) -> None:
    dome = DomeLight(texture="wood.png", rotation_deg=90.0, intensity=1.5)
    edited.apply(replace(frame(camera()), dome=dome))
    light = UsdLux.DomeLight(edited.prim("/Simcloud/Lights/simcloud_dome"))
    assert light.GetIntensityAttr().Get() == 1.5
    assert light.GetTextureFileAttr().Get().path == str(tmp_path / "wood.png")
    time = Usd.TimeCode.Default()
    matrix = UsdGeom.Xformable(light).ComputeLocalToWorldTransform(time)
    assert np.allclose(matrix.TransformDir(Gf.Vec3d(0, 1, 0)), [0, 0, 1]), "the pole is up"
    assert not edited.prim("/World/Sky").IsActive()
    edited.apply(frame(camera()))
    assert not edited.prim("/Simcloud/Lights/simcloud_dome")
    assert edited.prim("/World/Sky").IsActive()
    with pytest.raises(InvalidRequest, match=r"dome\.texture"):
        edited.apply(replace(frame(camera()), dome=replace(dome, texture="gone.hdr")))


def test_what_stays_is_moved_and_not_loaded_again(edited: Edited) -> None:
    first = frame(camera(), objects=(placed("a"), placed("b"), placed("c")))
    edited.apply(first)
    resynced: set[str] = set()

    def changed(notice: Any, sender: Any) -> None:
        del sender
        resynced.update(str(path) for path in notice.GetResyncedPaths())

    key = Tf.Notice.Register(Usd.Notice.ObjectsChanged, changed, edited.stage)
    moved = replace(first.objects[0], position_m=(0.0, 0.0, 1.0))
    edited.apply(replace(first, objects=(moved, replace(first.objects[2], tint_rgb=TINT))))
    key.Revoke()
    assert "/World/Objects/a" not in resynced
    assert {"/World/Objects/b", "/World/Objects/c"} <= resynced
    assert all(path.startswith("/World/Objects/") for path in resynced), resynced
    assert not edited.prim("/World/Objects/b")


def test_closing_leaves_the_stage_and_its_files_as_they_were(edited: Edited) -> None:
    edited.apply(frame(camera(), objects=(placed(tint_rgb=TINT),)))
    edited.layer.close()
    edited.layer.close()
    assert list(edited.stage.GetSessionLayer().subLayerPaths) == []
    assert not edited.prim("/World/Objects")
    assert not edited.stage.GetRootLayer().dirty
    assert own_label(edited.prim("/Library/mixed/plain")) == "screw"


def test_objects_that_the_stage_brings_along_are_not_shown(tmp_path: Path) -> None:
    stage = new_stage()
    add_cube(stage, "/World/Objects/left_over", size=1.0, label="crate")
    add_quad(stage, "/World/Floor", label="floor")
    edited = Edited(save(stage, tmp_path))
    edited.apply(frame(camera()))
    assert not edited.prim("/World/Objects/left_over").IsActive()
    edited.layer.close()
    assert edited.prim("/World/Objects/left_over").IsActive()
