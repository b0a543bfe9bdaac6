"""One stage for each feature of USD that is understood, and the numbers that come of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pxr import Gf, Sdf, Usd, UsdGeom, UsdLux, UsdShade, UsdUtils, Vt

from simcloud.geometry import matrix4
from simcloud.scene.catalog import read_catalog
from simcloud.scene.translate.types import NeutralScene
from simcloud.scene.translate.usd import read_scene
from support import scenes


def centres(scene: NeutralScene) -> list[tuple[float, ...]]:
    """Middle of each static mesh's bounds."""
    return [
        tuple(np.round((m.vertices.min(axis=0) + m.vertices.max(axis=0)) / 2, 4).tolist())
        for m in scene.static
    ]


def instancer_at(stage: Any, path: str, prototype: str, places: list[Any]) -> Any:
    """A PointInstancer of one prototype."""
    instancer = UsdGeom.PointInstancer.Define(stage, path)
    instancer.CreatePrototypesRel().AddTarget(prototype)
    instancer.CreateProtoIndicesAttr(Vt.IntArray([0] * len(places)))
    instancer.CreatePositionsAttr(Vt.Vec3fArray([Gf.Vec3f(*place) for place in places]))
    return instancer


def picture(folder: Path, name: str, size: tuple[int, int] = (4, 2)) -> Path:
    path = folder / name
    assert cv2.imwrite(str(path), np.full((size[1], size[0], 3), 128, np.uint8))
    return path


def test_instancers_inside_instancers_multiply(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    scenes.add_cube(stage, "/World/Outer/Row/Brick", size=1.0)
    instancer_at(stage, "/World/Outer/Row", "/World/Outer/Row/Brick", [(0, 0, 0), (2, 0, 0)])
    outer = instancer_at(stage, "/World/Outer", "/World/Outer/Row", [(0, 0, 0), (0, 0, 10)])
    UsdGeom.XformCommonAPI(outer).SetTranslate(Gf.Vec3d(0, 5, 0))
    scene = read_scene(scenes.save(stage, tmp_path))
    assert sum(len(mesh.faces) for mesh in scene.static) == 4 * 12
    vertices = np.concatenate([mesh.vertices for mesh in scene.static])
    assert vertices.min(axis=0).tolist() == [-0.5, 4.5, -0.5]
    assert vertices.max(axis=0).tolist() == [2.5, 5.5, 10.5]
    assert scene.unsupported == ()


def test_a_label_below_a_prototype_makes_every_instance_an_object(tmp_path: Path) -> None:
    stage = scenes.new_stage(up_axis="Y", metres_per_unit=0.01)
    scenes.add_cube(stage, "/World/Shelf/Can", size=10.0, label="can")
    instancer_at(stage, "/World/Shelf", "/World/Shelf/Can", [(0, 0, 0), (100, 0, 0)])
    path = scenes.save(stage, tmp_path)
    scene = read_scene(path)
    assert [prim.path for prim in scene.labelled] == ["/World/Shelf[0]", "/World/Shelf[1]"]
    assert {prim.label for prim in scene.labelled} == {"can"} == set(read_catalog(path).classes)
    assert matrix4(scene.labelled[1].local2world)[:3, 3] == pytest.approx([1.0, 0.0, 0.0])
    assert centres(scene) == [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0)]


def test_mirrored_instances_still_face_outwards(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    scenes.add_cube(stage, "/World/I/Box", size=1.0)
    instancer = instancer_at(stage, "/World/I", "/World/I/Box", [(0, 0, 0)])
    instancer.CreateScalesAttr(Vt.Vec3fArray([Gf.Vec3f(-2, 1, 1)]))
    mesh = read_scene(scenes.save(stage, tmp_path)).static[0]
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    outward = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((outward * corners.mean(axis=1)).sum(axis=1) > 0).all()
    assert ((mesh.normals * mesh.vertices).sum(axis=1) > 0).all()


def test_references_payloads_variants_and_instances_are_composed(tmp_path: Path) -> None:
    part = scenes.new_stage()
    prim = part.DefinePrim("/World/Body", "Xform")
    variants = prim.GetVariantSets().AddVariantSet("size")
    for name, size in (("small", 1.0), ("large", 4.0)):
        variants.AddVariant(name)
        variants.SetVariantSelection(name)
        with variants.GetVariantEditContext():
            scenes.add_cube(part, "/World/Body/Cube", size=size)
    variants.SetVariantSelection("small")
    scenes.save(part, tmp_path, "part.usda")
    stage = scenes.new_stage()
    for index, name in enumerate(("Referenced", "Loaded", "Instance")):
        placed = UsdGeom.Xform.Define(stage, f"/World/{name}")
        UsdGeom.XformCommonAPI(placed).SetTranslate(Gf.Vec3d(10.0 * index, 0, 0))
        target = placed.GetPrim()
        if name == "Loaded":
            target.GetPayloads().AddPayload("./part.usda")
        else:
            target.GetReferences().AddReference("./part.usda")
        target.SetInstanceable(name == "Instance")
    over = stage.OverridePrim("/World/Referenced/Body")
    over.GetVariantSets().GetVariantSet("size").SetVariantSelection("large")
    scene = read_scene(scenes.save(stage, tmp_path))
    assert centres(scene) == [(0.0, 0.0, 0.0), (10.0, 0.0, 0.0), (20.0, 0.0, 0.0)]
    assert [float(np.ptp(m.vertices[:, 0])) for m in scene.static] == [4.0, 1.0, 1.0]


def test_the_earliest_time_sample_is_drawn_and_motion_is_named(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    cube = scenes.add_cube(stage, "/World/Mover", size=1.0)
    place = UsdGeom.Xformable(cube).AddTranslateOp()
    place.Set(Gf.Vec3d(1, 0, 0), Usd.TimeCode(5))
    place.Set(Gf.Vec3d(9, 0, 0), Usd.TimeCode(10))
    quad = scenes.add_quad(stage, "/World/Sheet")
    points = quad.GetPointsAttr()
    first = points.Get()
    points.Clear()
    points.Set(first, Usd.TimeCode(5))
    points.Set(Vt.Vec3fArray([p * 2 for p in first]), Usd.TimeCode(6))
    scene = read_scene(scenes.save(stage, tmp_path))
    assert centres(scene) == [(1.0, 0.0, 0.0), (0.0, 0.0, 0.0)]
    assert float(np.ptp(scene.static[1].vertices[:, 0])) == 1.0
    motion = "motion: the earliest time sample is drawn"
    assert scene.unsupported == (f"/World/Mover: {motion}", f"/World/Sheet: {motion}")


def test_render_purpose_is_drawn_and_proxies_are_not(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    for purpose in ("default", "render", "proxy", "guide"):
        scenes.add_cube(stage, f"/World/{purpose}", size=1.0).CreatePurposeAttr(purpose)
    scene = read_scene(scenes.save(stage, tmp_path))
    assert [mesh.path for mesh in scene.static] == ["/World/default", "/World/render"]


def test_texture_coordinates_are_those_that_the_material_names(tmp_path: Path) -> None:
    picture(tmp_path, "wood.png")
    stage = scenes.new_stage()
    material = scenes.add_material(stage, "/World/Look")
    scenes.add_texture(material, "diffuseColor", "./wood.png", "rgb")
    reader = UsdShade.Shader(stage.GetPrimAtPath("/World/Look/Coordinates"))
    reader.GetInput("varname").Set("map2")
    quad = scenes.add_quad(stage, "/World/Quad")
    scenes.set_uv(quad, [(0, 0), (1, 0), (1, 1), (0, 1)])
    other = UsdGeom.PrimvarsAPI(quad).CreatePrimvar(
        "map2", Sdf.ValueTypeNames.TexCoord2fArray, "vertex"
    )
    other.Set(Vt.Vec2fArray([Gf.Vec2f(5, 5)] * 4))
    scenes.bind(quad.GetPrim(), material)
    uvs = read_scene(scenes.save(stage, tmp_path)).static[0].uvs
    assert uvs is not None
    assert set(uvs.ravel().tolist()) == {5.0}


def test_texture_values_are_scaled_biased_wrapped_and_transformed_as_written(
    tmp_path: Path,
) -> None:
    picture(tmp_path, "bump.png")
    stage = scenes.new_stage()
    material = scenes.add_material(stage, "/World/Look")
    node = scenes.add_texture(
        material, "normal", "./bump.png", "rgb", sourceColorSpace="raw", wrapS="clamp"
    )
    node.CreateInput("wrapT", Sdf.ValueTypeNames.Token).Set("clamp")
    node.CreateInput("scale", Sdf.ValueTypeNames.Float4).Set(Gf.Vec4f(2, 2, 2, 1))
    node.CreateInput("bias", Sdf.ValueTypeNames.Float4).Set(Gf.Vec4f(-1, -1, -1, 0))
    turn = UsdShade.Shader.Define(stage, "/World/Look/Turn")
    turn.CreateIdAttr("UsdTransform2d")
    turn.CreateInput("rotation", Sdf.ValueTypeNames.Float).Set(90.0)
    turn.CreateInput("scale", Sdf.ValueTypeNames.Float2).Set(Gf.Vec2f(3, 4))
    turn.CreateInput("translation", Sdf.ValueTypeNames.Float2).Set(Gf.Vec2f(0.5, 0.25))
    node.GetInput("st").ConnectToSource(turn.ConnectableAPI(), "result")
    read = read_scene(scenes.save(stage, tmp_path)).materials["/World/Look"]
    assert read.normal_texture is not None
    assert (read.normal_texture.scale, read.normal_texture.bias) == ((2, 2, 2), (-1, -1, -1))
    assert (read.normal_texture.srgb, read.normal_texture.wrap) == (False, "clamp")
    assert read.uv_transform is not None
    assert (read.uv_transform.scale, read.uv_transform.rotation_deg) == ((3.0, 4.0), 90.0)
    assert read.uv_transform.translation == (0.5, 0.25)


def test_texture_files_given_through_a_materials_interface_are_found(tmp_path: Path) -> None:
    picture(tmp_path, "wood.png")
    stage = scenes.new_stage()
    material = scenes.add_material(stage, "/World/Look")
    node = scenes.add_texture(material, "diffuseColor", "./missing.png", "rgb")
    public = material.CreateInput("picture", Sdf.ValueTypeNames.Asset)
    public.Set(Sdf.AssetPath("./wood.png"))
    node.GetInput("file").GetAttr().Clear()
    node.GetInput("file").ConnectToSource(public)
    read = read_scene(scenes.save(stage, tmp_path)).materials["/World/Look"]
    assert read.base_color_texture is not None
    assert read.base_color_texture.path == str(tmp_path / "wood.png")


def test_udim_sets_are_drawn_as_their_first_tile_and_named(tmp_path: Path) -> None:
    for tile in (1002, 1001):
        picture(tmp_path, f"wood.{tile}.png")
    stage = scenes.new_stage()
    material = scenes.add_material(stage, "/World/Look")
    scenes.add_texture(material, "diffuseColor", "./wood.<UDIM>.png", "rgb")
    scene = read_scene(scenes.save(stage, tmp_path))
    read = scene.materials["/World/Look"].base_color_texture
    assert read is not None
    assert read.path == str(tmp_path / "wood.1001.png")
    assert scene.unsupported == (
        "/World/Look/Texture_diffuseColor: UDIM textures: the first tile is drawn everywhere",
    )


@pytest.mark.parametrize(("opacity", "drawn"), [(0.3, 0.0), (0.6, 1.0)])
def test_an_opacity_threshold_cuts_plain_opacity_too(
    opacity: float, drawn: float, tmp_path: Path
) -> None:
    stage = scenes.new_stage()
    scenes.add_material(stage, "/World/Look", opacity=opacity, opacityThreshold=0.5, ior=1.0)
    read = read_scene(scenes.save(stage, tmp_path)).materials["/World/Look"]
    assert (read.opacity, read.specular) == (drawn, 0.0)


def test_what_of_a_material_is_not_drawn_is_named(tmp_path: Path) -> None:
    picture(tmp_path, "glow.png")
    stage = scenes.new_stage()
    material = scenes.add_material(stage, "/World/Look", clearcoat=1.0, displacement=0.5)
    scenes.add_texture(material, "emissiveColor", "./glow.png", "rgb", wrapS="black")
    UsdShade.Material.Define(stage, "/World/Bare")
    glass = UsdShade.Material.Define(stage, "/World/Glass")
    shader = UsdShade.Shader.Define(stage, "/World/Glass/S")
    shader.SetSourceAsset(Sdf.AssetPath("OmniGlass.mdl"), "mdl")
    shader.SetSourceAssetSubIdentifier("OmniGlass", "mdl")
    glass.CreateSurfaceOutput("mdl").ConnectToSource(shader.ConnectableAPI(), "out")
    scene = read_scene(scenes.save(stage, tmp_path))
    assert scene.unsupported == (
        "/World/Bare: material without a surface shader",
        "/World/Glass/S: shader OmniGlass",
        "/World/Look/Surface: emissiveColor textures do not shine",
        "/World/Look/Surface: input clearcoat",
        "/World/Look/Surface: input displacement",
        "/World/Look/Texture_emissiveColor: wrap modes ['black', 'repeat'] are drawn as one",
    )


def test_normalized_lights_emit_the_same_whatever_their_size(tmp_path: Path) -> None:
    stage = scenes.new_stage(metres_per_unit=0.01)
    light = UsdLux.RectLight.Define(stage, "/World/Lamp")
    light.CreateWidthAttr(200.0)
    light.CreateHeightAttr(100.0)
    light.CreateIntensityAttr(6.0)
    light.CreateNormalizeAttr(True)
    UsdGeom.XformCommonAPI(light).SetScale(Gf.Vec3f(1, 3, 1))
    read = read_scene(scenes.save(stage, tmp_path)).mesh_lights[0]
    assert read.radiance == pytest.approx((1.0, 1.0, 1.0))  # 6 over 2 m by 3 m


def test_colour_temperature_tints_and_shaping_is_named(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    light = UsdLux.SphereLight.Define(stage, "/World/Lamp")
    light.CreateIntensityAttr(2.0)
    light.CreateExposureAttr(1.0)
    light.CreateEnableColorTemperatureAttr(True)
    light.CreateColorTemperatureAttr(3000.0)
    light.CreateSpecularAttr(0.0)
    shaping = UsdLux.ShapingAPI.Apply(light.GetPrim())
    shaping.CreateShapingConeAngleAttr(30.0)
    shaping.CreateShapingFocusAttr(2.0)
    scene = read_scene(scenes.save(stage, tmp_path))
    kelvin = UsdLux.BlackbodyTemperatureAsRgb(3000.0)
    assert scene.mesh_lights[0].radiance == pytest.approx([4.0 * c for c in kelvin], rel=1e-5)
    assert scene.unsupported == (
        "/World/Lamp: light input specular other than 1",
        "/World/Lamp: light shaping inputs:shaping:cone:angle",
        "/World/Lamp: light shaping inputs:shaping:focus",
    )


def test_mesh_lights_shine_and_stay_geometry(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    quad = scenes.add_quad(stage, "/World/Panel", half=1.0, label="lamp")
    scenes.bind(quad.GetPrim(), scenes.add_material(stage, "/World/Look"))
    light = UsdLux.MeshLightAPI.Apply(quad.GetPrim())
    api = UsdLux.LightAPI(light.GetPrim())
    api.CreateIntensityAttr(8.0)
    api.CreateNormalizeAttr(True)
    scene = read_scene(scenes.save(stage, tmp_path))
    material = scene.materials[scene.static[0].material]
    assert material.emissive == (2.0, 2.0, 2.0)
    assert scene.materials["/World/Look"].emissive == (0.0, 0.0, 0.0)
    assert [prim.label for prim in scene.labelled] == ["lamp"]


@pytest.mark.parametrize(
    ("kind", "pole", "expected"),
    [
        ("DomeLight", None, (0, 1, 0)),
        ("DomeLight_1", None, (0, 0, 1)),
        ("DomeLight_1", "Y", (0, 1, 0)),
        ("DomeLight_1", "Z", (0, 0, 1)),
    ],
)
def test_a_domes_pole_is_where_its_schema_says(
    kind: str, pole: str | None, expected: tuple[int, int, int], tmp_path: Path
) -> None:
    stage = scenes.new_stage()
    prim = stage.DefinePrim("/World/Sky", kind)
    if pole is not None:
        prim.GetAttribute("poleAxis").Set(pole)
    stage.DefinePrim("/World/Sky2", "DomeLight")
    scene = read_scene(scenes.save(stage, tmp_path))
    assert matrix4(scene.environments[0].local2world)[:3, 1] == pytest.approx(expected)
    assert scene.unsupported == ("/World/Sky2: a second dome light; only /World/Sky shines",)


def test_cameras_come_with_apertures_and_offsets_in_metres_and_z_up(tmp_path: Path) -> None:
    stage = scenes.new_stage(up_axis="Y", metres_per_unit=0.01)
    camera = UsdGeom.Camera.Define(stage, "/World/Cam")
    camera.CreateVerticalApertureAttr(18.0)
    camera.CreateVerticalApertureOffsetAttr(-1.5)
    UsdGeom.XformCommonAPI(camera).SetTranslate(Gf.Vec3d(0, 150, 300))
    blind = UsdGeom.Camera.Define(stage, "/World/Blind")
    blind.CreateHorizontalApertureAttr(0.0)
    flat = UsdGeom.Camera.Define(stage, "/World/Flat")
    flat.CreateProjectionAttr("orthographic")
    path = scenes.save(stage, tmp_path)
    scene = read_scene(path)
    read = next(item for item in scene.cameras if item.path == "/World/Cam")
    assert (read.vertical_aperture_mm, read.vertical_aperture_offset_mm) == (18.0, -1.5)
    assert matrix4(read.cam2world)[:3, 3] == pytest.approx([0.0, -3.0, 1.5])
    assert matrix4(read.cam2world)[:3, 2] == pytest.approx([0.0, -1.0, 0.0])  # looks along +Y
    assert scene.unsupported == (
        "/World/Blind: a camera that cannot see is left out: /World/Blind.horizontalAperture must "
        "be above 0, found 0.0",
        "/World/Flat: orthographic cameras are read as perspective ones",
    )
    assert [item.path for item in read_catalog(path).cameras] == ["/World/Cam", "/World/Flat"]


def test_holes_and_faces_without_area_are_left_out(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    points = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.0, 1.0, 0.0)]
    mesh = scenes.add_mesh(stage, "/World/M", points, [(0, 1, 2), (0, 2, 3), (0, 0, 1)])
    mesh.CreateHoleIndicesAttr(Vt.IntArray([1]))
    line = scenes.add_mesh(stage, "/World/Line", points, [(0, 1, 0)])
    assert line
    scene = read_scene(scenes.save(stage, tmp_path))
    assert [(item.path, len(item.faces)) for item in scene.static] == [("/World/M", 1)]
    assert scene.unsupported == ("/World/Line: geometry without area is left out",)


def test_a_package_is_read_with_the_pictures_inside(tmp_path: Path) -> None:
    picture(tmp_path, "wood.png", (6, 3))
    stage = scenes.new_stage()
    material = scenes.add_material(stage, "/World/Look")
    scenes.add_texture(material, "diffuseColor", "./wood.png", "rgb")
    quad = scenes.add_quad(stage, "/World/Quad")
    scenes.bind(quad.GetPrim(), material)
    package = tmp_path / "scene.usdz"
    assert UsdUtils.CreateNewUsdzPackage(str(scenes.save(stage, tmp_path)), str(package))
    texture = read_scene(package).materials["/World/Look"].base_color_texture
    assert texture is not None
    assert texture.path == f"{package}[wood.png]"
