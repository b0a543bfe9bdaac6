"""What of a stage reaches the neutral scene, and what is refused or named."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from pxr import Gf, Sdf, UsdGeom, UsdLux, UsdShade, Vt

from simcloud.errors import InvalidRequest
from simcloud.scene.translate.types import NeutralScene
from simcloud.scene.translate.usd import read_scene
from support import scenes


def bounds(scene: NeutralScene) -> tuple[list[float], list[float]]:
    vertices = np.concatenate([mesh.vertices for mesh in scene.static])
    return vertices.min(axis=0).tolist(), vertices.max(axis=0).tolist()


@pytest.mark.parametrize(
    ("kind", "attributes", "low", "high"),
    [
        ("Cube", {"size": 2.0}, (-1, -1, -1), (1, 1, 1)),
        ("Sphere", {"radius": 2.0}, (-2, -2, -2), (2, 2, 2)),
        ("Cylinder", {"radius": 1.0, "height": 4.0}, (-1, -1, -2), (1, 1, 2)),
        ("Cylinder", {"radius": 1.0, "height": 4.0, "axis": "X"}, (-2, -1, -1), (2, 1, 1)),
        ("Cone", {"radius": 1.0, "height": 4.0, "axis": "Y"}, (-1, -2, -1), (1, 2, 1)),
        ("Capsule", {"radius": 1.0, "height": 2.0}, (-1, -1, -2), (1, 1, 2)),
        ("Plane", {"width": 2.0, "length": 4.0}, (-1, -2, 0), (1, 2, 0)),
        ("Plane", {"width": 2.0, "length": 4.0, "axis": "X"}, (0, -2, -1), (0, 2, 1)),
    ],
)
def test_implicit_shapes_fill_their_extent_and_face_outwards(
    kind: str,
    attributes: dict[str, float | str],
    low: tuple[float, float, float],
    high: tuple[float, float, float],
    tmp_path: Path,
) -> None:
    stage = scenes.new_stage()
    prim = stage.DefinePrim("/World/Shape", kind)
    for name, value in attributes.items():
        prim.GetAttribute(name).Set(value)
    scene = read_scene(scenes.save(stage, tmp_path))
    assert np.allclose(bounds(scene), [low, high], atol=1e-6)
    mesh = scene.static[0]
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    outward = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((outward * mesh.normals[mesh.faces].mean(axis=1)).sum(axis=1) > 0).all()


def test_y_up_centimetres_become_z_up_metres(tmp_path: Path) -> None:
    stage = scenes.new_stage(up_axis="Y", metres_per_unit=0.01)
    cube = scenes.add_cube(stage, "/World/Crate", size=100.0)
    UsdGeom.XformCommonAPI(cube).SetTranslate(Gf.Vec3d(100.0, 200.0, 300.0))
    low, high = bounds(read_scene(scenes.save(stage, tmp_path)))
    assert np.allclose(low, [0.5, -3.5, 1.5])
    assert np.allclose(high, [1.5, -2.5, 2.5])


def test_face_varying_coordinates_split_vertices_and_equal_corners_share_one(
    tmp_path: Path,
) -> None:
    stage = scenes.new_stage()
    points = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.0, 1.0, 0.0)]
    mesh = scenes.add_mesh(stage, "/World/M", points, [(0, 1, 2), (0, 2, 3)])
    uv = [(0, 0), (1, 0), (1, 1), (0, 0), (1, 1), (0.5, 0.5)]
    scenes.set_uv(mesh, [(float(u), float(v)) for u, v in uv], "faceVarying")
    read = read_scene(scenes.save(stage, tmp_path)).static[0]
    assert len(read.vertices) == 4
    assert read.uvs is not None
    assert len(read.faces) == 2
    assert sorted(map(tuple, read.uvs.tolist())) == [(0, 0), (0.5, 0.5), (1, 0), (1, 1)]


def test_polygons_become_fans_and_left_handed_ones_are_turned(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    angles = np.arange(5) * 2 * np.pi / 5
    points = [(float(np.cos(a)), float(np.sin(a)), 0.0) for a in angles]
    scenes.add_mesh(stage, "/World/Right", points, [(0, 1, 2, 3, 4)])
    left = scenes.add_mesh(stage, "/World/Left", points, [(4, 3, 2, 1, 0)])
    left.CreateOrientationAttr("leftHanded")
    for mesh in read_scene(scenes.save(stage, tmp_path)).static:
        assert len(mesh.faces) == 3
        assert np.allclose(mesh.normals, [0.0, 0.0, 1.0])


def test_subsets_split_a_mesh_by_material(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    red = scenes.add_material(stage, "/World/Looks/red", color=(1.0, 0.0, 0.0))
    blue = scenes.add_material(stage, "/World/Looks/blue", color=(0.0, 0.0, 1.0))
    points = [(float(x), float(y), 0.0) for y in range(2) for x in range(4)]
    mesh = scenes.add_mesh(stage, "/World/M", points, [(0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6)])
    scenes.bind(mesh.GetPrim(), red)
    subset = UsdShade.MaterialBindingAPI(mesh.GetPrim()).CreateMaterialBindSubset(
        "middle", Vt.IntArray([1])
    )
    scenes.bind(subset.GetPrim(), blue)
    scene = read_scene(scenes.save(stage, tmp_path))
    faces = {mesh.material: len(mesh.faces) for mesh in scene.static}
    assert faces == {"/World/Looks/red": 4, "/World/Looks/blue": 2}
    assert {mesh.path for mesh in scene.static} == {"/World/M", "/World/M/middle"}


def test_point_instancer_places_its_prototypes(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    instancer = UsdGeom.PointInstancer.Define(stage, "/World/Field")
    scenes.set_label(instancer.GetPrim(), "brick")
    cube = scenes.add_cube(stage, "/World/Field/Protos/Brick", size=1.0)
    instancer.CreatePrototypesRel().AddTarget(cube.GetPath())
    instancer.CreateProtoIndicesAttr(Vt.IntArray([0, 0, 0]))
    instancer.CreatePositionsAttr(Vt.Vec3fArray([(0, 0, 0), (3, 0, 0), (6, 0, 0)]))
    instancer.CreateIdsAttr(Vt.Int64Array([0, 1, 2]))
    instancer.InvisId(1, 0.0)
    scene = read_scene(scenes.save(stage, tmp_path))
    assert len(scene.static) == 1
    assert scene.static[0].vertices[:, 0].min() == -0.5
    assert sorted({float(x) for x in scene.static[0].vertices[:, 0]}) == [-0.5, 0.5, 5.5, 6.5]
    assert {mesh.owner for mesh in scene.static} == {"/World/Field"}
    assert scene.classes == ("brick",)


def test_both_semantics_schemas_count_and_the_nearest_label_wins(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    outer = UsdGeom.Xform.Define(stage, "/World/Table").GetPrim()
    scenes.set_label(outer, "table")
    scenes.add_cube(stage, "/World/Table/Top", size=1.0)
    scenes.add_cube(stage, "/World/Table/Cup", size=0.1, label="cup")
    old = scenes.add_cube(stage, "/World/Old", size=1.0).GetPrim()
    names = Sdf.ValueTypeNames.String
    old.CreateAttribute("semantic:Semantics:params:semanticType", names).Set("class")
    old.CreateAttribute("semantic:Semantics:params:semanticLabel", names).Set("chair")
    other = scenes.add_cube(stage, "/World/Other", size=1.0).GetPrim()
    other.CreateAttribute("semantic:S:params:semanticType", names).Set("material")
    other.CreateAttribute("semantic:S:params:semanticLabel", names).Set("wood")
    scene = read_scene(scenes.save(stage, tmp_path))
    owners = {mesh.path: mesh.owner for mesh in scene.static}
    assert owners["/World/Table/Top"] == "/World/Table"
    assert owners["/World/Table/Cup"] == "/World/Table/Cup"
    assert owners["/World/Other"] is None
    assert scene.classes == ("chair", "cup", "table")
    assert [prim.path for prim in scene.labelled] == [
        "/World/Old",
        "/World/Table",
        "/World/Table/Cup",
    ]


def test_library_assets_are_read_and_not_drawn(tmp_path: Path) -> None:
    scene = read_scene(scenes.furnished_stage(tmp_path))
    assert set(scene.assets) == {"crate", "can"}
    crate = scene.assets["crate"]
    assert crate.label == "carton"
    assert (crate.minimum, crate.maximum) == ((-0.5, -0.5, 0.0), (0.5, 0.5, 1.0))
    assert {mesh.path for mesh in scene.static} == {"/World/Room/Floor", "/World/Room/Pit"}
    assert {"/World/Looks/red", "/World/Looks/blue"} <= set(scene.materials)
    assert scene.classes == ("can", "carton", "floor")
    assert scene.unsupported == ()


def test_invisible_prims_and_guides_are_left_out(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    hidden = UsdGeom.Xform.Define(stage, "/World/Hidden")
    hidden.MakeInvisible()
    scenes.add_cube(stage, "/World/Hidden/A", size=1.0)
    guide = scenes.add_cube(stage, "/World/Guide", size=1.0)
    guide.CreatePurposeAttr("guide")
    scenes.add_cube(stage, "/World/Seen", size=1.0)
    scene = read_scene(scenes.save(stage, tmp_path))
    assert [mesh.path for mesh in scene.static] == ["/World/Seen"]


def test_preview_surface_with_textures_is_read(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "wood.png"), np.zeros((4, 4, 4), np.uint8))
    stage = scenes.new_stage()
    material = scenes.add_material(stage, "/World/Looks/wood", roughness=0.25, metallic=1.0)
    scenes.add_texture(
        material, "diffuseColor", "./wood.png", "rgb", wrapS="mirror", wrapT="mirror"
    )
    scenes.add_texture(material, "opacity", "./wood.png", "a")
    quad = scenes.add_quad(stage, "/World/Quad")
    scenes.set_uv(quad, [(0, 0), (1, 0), (1, 1), (0, 1)])
    scenes.bind(quad.GetPrim(), material)
    read = read_scene(scenes.save(stage, tmp_path)).materials["/World/Looks/wood"]
    assert (read.roughness, read.metallic) == (0.25, 1.0)
    assert read.base_color_texture is not None
    assert read.base_color_texture.path == str(tmp_path / "wood.png")
    assert (read.base_color_texture.srgb, read.base_color_texture.wrap) == (True, "mirror")
    assert read.opacity_texture is not None
    assert (read.opacity_texture.channel, read.opacity_texture.srgb) == (3, False)


def test_omnipbr_inputs_are_read_and_strange_ones_named(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    material = UsdShade.Material.Define(stage, "/World/Looks/metal")
    shader = UsdShade.Shader.Define(stage, "/World/Looks/metal/Shader")
    shader.SetSourceAsset(Sdf.AssetPath("OmniPBR.mdl"), "mdl")
    shader.SetSourceAssetSubIdentifier("OmniPBR", "mdl")
    color = Sdf.ValueTypeNames.Color3f
    shader.CreateInput("diffuse_color_constant", color).Set(Gf.Vec3f(0.25, 0.5, 1.0))
    shader.CreateInput("diffuse_tint", color).Set(Gf.Vec3f(1.0, 0.5, 1.0))
    for name, value in (
        ("metallic_constant", 1.0),
        ("reflection_roughness_constant", 0.125),
        ("detail_bump_factor", 0.5),
    ):
        shader.CreateInput(name, Sdf.ValueTypeNames.Float).Set(value)
    material.CreateSurfaceOutput("mdl").ConnectToSource(shader.ConnectableAPI(), "out")
    scene = read_scene(scenes.save(stage, tmp_path))
    read = scene.materials["/World/Looks/metal"]
    assert read.base_color == (0.25, 0.25, 1.0)
    assert (read.metallic, read.roughness) == (1.0, 0.125)
    assert scene.unsupported == ("/World/Looks/metal/Shader: OmniPBR inputs detail_bump_factor",)


def test_display_colour_makes_a_material(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    cube = scenes.add_cube(stage, "/World/Cube", size=1.0)
    cube.CreateDisplayColorAttr([Gf.Vec3f(0.25, 0.5, 0.75)])
    scene = read_scene(scenes.save(stage, tmp_path))
    assert scene.materials[scene.static[0].material].base_color == (0.25, 0.5, 0.75)


@pytest.mark.parametrize(
    ("kind", "area"),
    [
        ("RectLight", 6.0),
        ("DiskLight", np.pi),
        ("SphereLight", 4 * np.pi),
        ("CylinderLight", 4 * np.pi),
    ],
)
def test_area_lights_become_triangles_of_their_area(kind: str, area: float, tmp_path: Path) -> None:
    stage = scenes.new_stage()
    prim = stage.DefinePrim("/World/Light", kind)
    sizes = {"width": 2.0, "height": 3.0, "radius": 1.0, "length": 2.0, "intensity": 4.0}
    for name, value in {**sizes, "exposure": 1.0}.items():
        if prim.GetAttribute(f"inputs:{name}"):
            prim.GetAttribute(f"inputs:{name}").Set(value)
    light = read_scene(scenes.save(stage, tmp_path)).mesh_lights[0]
    corners = light.vertices[light.faces].astype(np.float64)
    doubled = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert np.sqrt((doubled**2).sum(axis=1)).sum() / 2 == pytest.approx(area, rel=0.01)
    assert light.radiance == (8.0, 8.0, 8.0)
    if kind in {"RectLight", "DiskLight"}:
        assert (doubled[:, 2] < 0).all(), "it emits along -Z"


def test_distant_and_dome_lights_and_cameras_are_read(tmp_path: Path) -> None:
    stage = scenes.new_stage(metres_per_unit=0.01)
    sun = UsdLux.DistantLight.Define(stage, "/World/Sun")
    sun.CreateIntensityAttr(3.0)
    sun.CreateNormalizeAttr(True)
    UsdLux.DomeLight.Define(stage, "/World/Sky").CreateIntensityAttr(0.5)
    camera = UsdGeom.Camera.Define(stage, "/World/Camera")
    camera.CreateFocalLengthAttr(35.0)
    camera.CreateHorizontalApertureOffsetAttr(2.0)
    camera.CreateClippingRangeAttr(Gf.Vec2f(10.0, 5000.0))
    scene = read_scene(scenes.save(stage, tmp_path))
    assert scene.distant_lights[0].direction == pytest.approx((0.0, 0.0, -1.0))
    assert scene.distant_lights[0].irradiance == (3.0, 3.0, 3.0)
    assert scene.environments[0].color == (0.5, 0.5, 0.5)
    assert scene.cameras[0].focal_length_mm == 35.0
    assert scene.cameras[0].horizontal_aperture_offset_mm == 2.0
    assert (scene.cameras[0].near_m, scene.cameras[0].far_m) == pytest.approx((0.1, 50.0))


def test_what_is_not_understood_is_named_once(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    stage.DefinePrim("/World/Hair", "BasisCurves")
    smooth = scenes.add_quad(stage, "/World/Smooth")
    smooth.CreateSubdivisionSchemeAttr("catmullClark")
    scene = read_scene(scenes.save(stage, tmp_path))
    assert scene.unsupported == (
        "/World/Hair: prims of type BasisCurves",
        "/World/Smooth: subdivision surfaces are drawn as their control mesh with smooth normals",
    )


@pytest.mark.parametrize(
    ("indices", "counts", "problem"),
    [
        ([0, 1, 7], [3], r"/World/Bad.*holds 7, out of range for 3 points"),
        ([0, 1, -1], [3], r"holds -1, out of range"),
        ([0, 1, 2], [3, 3], "holds 3 indices, its counts ask for 6"),
        ([0, 1], [2], "a face of 2 vertices"),
    ],
)
def test_broken_topology_is_refused(
    indices: list[int], counts: list[int], problem: str, tmp_path: Path
) -> None:
    stage = scenes.new_stage()
    mesh = UsdGeom.Mesh.Define(stage, "/World/Bad")
    mesh.CreatePointsAttr(Vt.Vec3fArray([(0, 0, 0), (1, 0, 0), (0, 1, 0)]))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray(indices))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray(counts))
    with pytest.raises(InvalidRequest, match=problem):
        read_scene(scenes.save(stage, tmp_path))


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    scenes.add_mesh(
        stage,
        "/World/Bad",
        [(0.0, 0.0, float("nan")), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)],
        [(0, 1, 2)],
    )
    with pytest.raises(InvalidRequest, match=r"/World/Bad.points holds values that are not finite"):
        read_scene(scenes.save(stage, tmp_path))
    stage = scenes.new_stage()
    cube = scenes.add_cube(stage, "/World/Lost", size=1.0)
    UsdGeom.XformCommonAPI(cube).SetTranslate(Gf.Vec3d(float("nan"), 0.0, 0.0))
    with pytest.raises(InvalidRequest, match="transform of /World/Lost is not finite"):
        read_scene(scenes.save(stage, tmp_path, "lost.usda"))


def test_missing_texture_is_refused_by_name(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    material = scenes.add_material(stage, "/World/Looks/wood")
    scenes.add_texture(material, "diffuseColor", "./gone.png", "rgb")
    with pytest.raises(InvalidRequest, match=r"/World/Looks/wood/Texture_.*gone\.png"):
        read_scene(scenes.save(stage, tmp_path))


def test_missing_reference_is_refused_by_name(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    stage.DefinePrim("/World/Chair").GetReferences().AddReference("./gone.usda")
    with pytest.raises(InvalidRequest, match=r"gone\.usda"):
        read_scene(scenes.save(stage, tmp_path))


def test_file_that_is_no_stage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="is not a file"):
        read_scene(tmp_path / "gone.usda")
    broken = tmp_path / "broken.usda"
    broken.write_text("this is no stage")
    with pytest.raises(InvalidRequest, match="broken"):
        read_scene(broken)
