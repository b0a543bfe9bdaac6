"""Stages whose labels can be worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pxr import Gf, Usd, UsdGeom, UsdSemantics, UsdShade, Vt

from simcloud.geometry import look_at
from simcloud.spec.parameters import CameraView, FrameParameters, PlacedObject, Vector3

IDENTITY = (
    (1.0, 0.0, 0.0, 0.0),
    (0.0, 1.0, 0.0, 0.0),
    (0.0, 0.0, 1.0, 0.0),
    (0.0, 0.0, 0.0, 1.0),
)


def new_stage(*, up_axis: str = "Z", metres_per_unit: float = 1.0) -> Any:
    """An empty stage in memory with ``/World`` as its default prim."""
    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, up_axis)
    UsdGeom.SetStageMetersPerUnit(stage, metres_per_unit)
    stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, "/World").GetPrim())
    return stage


def save(stage: Any, folder: Path, name: str = "stage.usda") -> Path:
    """Writes a stage; returns its root layer's path."""
    path = folder / name
    stage.GetRootLayer().Export(str(path))
    return path


def set_label(prim: Any, label: str) -> None:
    """Puts a class label on a prim."""
    UsdSemantics.LabelsAPI.Apply(prim, "class").CreateLabelsAttr(Vt.TokenArray([label]))


def add_mesh(
    stage: Any,
    path: str,
    points: list[Vector3],
    faces: list[tuple[int, ...]],
    *,
    label: str | None = None,
) -> Any:
    """A polygon mesh without subdivision."""
    mesh = UsdGeom.Mesh.Define(stage, path)
    mesh.CreatePointsAttr(Vt.Vec3fArray([Gf.Vec3f(*point) for point in points]))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray([len(face) for face in faces]))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray([index for face in faces for index in face]))
    mesh.CreateSubdivisionSchemeAttr("none")
    if label is not None:
        set_label(mesh.GetPrim(), label)
    return mesh


def add_quad(
    stage: Any, path: str, *, half: float = 0.5, z: float = 0.0, label: str | None = None
) -> Any:
    """A square in the XY plane that faces +Z."""
    points: list[Vector3] = [(-half, -half, z), (half, -half, z), (half, half, z), (-half, half, z)]
    return add_mesh(stage, path, points, [(0, 1, 2, 3)], label=label)


def add_cube(stage: Any, path: str, *, size: float, label: str | None = None) -> Any:
    """An implicit cube centred at its origin."""
    cube = UsdGeom.Cube.Define(stage, path)
    cube.CreateSizeAttr(size)
    if label is not None:
        set_label(cube.GetPrim(), label)
    return cube


def add_library_asset(stage: Any, name: str, label: str | None) -> Any:
    """A class prim below ``/Library`` to put geometry under."""
    if not stage.GetPrimAtPath("/Library"):
        UsdGeom.Scope.Define(stage, "/Library")
    prim = stage.CreateClassPrim(f"/Library/{name}")
    prim.SetTypeName("Xform")
    if label is not None:
        set_label(prim, label)
    return prim


def add_material(
    stage: Any, path: str, *, color: Vector3 = (0.5, 0.5, 0.5), **inputs: float
) -> Any:
    """A UsdPreviewSurface material with plain values."""
    from pxr import Sdf

    material = UsdShade.Material.Define(stage, path)
    shader = UsdShade.Shader.Define(stage, f"{path}/Surface")
    shader.CreateIdAttr("UsdPreviewSurface")
    shader.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f).Set(Gf.Vec3f(*color))
    for name, value in inputs.items():
        shader.CreateInput(name, Sdf.ValueTypeNames.Float).Set(value)
    material.CreateSurfaceOutput().ConnectToSource(shader.ConnectableAPI(), "surface")
    return material


def add_texture(material: Any, name: str, file: str, output: str, **inputs: Any) -> Any:
    """Connects a texture to an input of a material's surface."""
    from pxr import Sdf

    stage = material.GetPrim().GetStage()
    path = material.GetPath()
    reader = UsdShade.Shader.Define(stage, path.AppendChild("Coordinates"))
    reader.CreateIdAttr("UsdPrimvarReader_float2")
    reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st")
    texture = UsdShade.Shader.Define(stage, path.AppendChild(f"Texture_{name}"))
    texture.CreateIdAttr("UsdUVTexture")
    texture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(Sdf.AssetPath(file))
    texture.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(
        reader.ConnectableAPI(), "result"
    )
    for key, value in inputs.items():
        texture.CreateInput(key, Sdf.ValueTypeNames.Token).Set(value)
    kind = Sdf.ValueTypeNames.Color3f if output == "rgb" else Sdf.ValueTypeNames.Float
    surface = UsdShade.Shader(stage.GetPrimAtPath(path.AppendChild("Surface")))
    surface.CreateInput(name, kind).ConnectToSource(texture.ConnectableAPI(), output)
    return texture


def bind(prim: Any, material: Any) -> None:
    """Binds a material to a prim."""
    UsdShade.MaterialBindingAPI.Apply(prim).Bind(material)


def set_uv(mesh: Any, values: list[tuple[float, float]], interpolation: str = "vertex") -> None:
    """Gives a mesh texture coordinates."""
    from pxr import Sdf

    primvar = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar(
        "st", Sdf.ValueTypeNames.TexCoord2fArray, interpolation
    )
    primvar.Set(Vt.Vec2fArray([Gf.Vec2f(*value) for value in values]))


def camera(
    eye: Vector3 = (0.0, 0.0, 4.0),
    target: Vector3 = (0.0, 0.0, 0.0),
    *,
    size: tuple[int, int] = (64, 48),
    up: Vector3 = (0.0, 1.0, 0.0),
    focal_length_mm: float = 24.0,
    name: str = "main",
    offset_mm: tuple[float, float] = (0.0, 0.0),
) -> CameraView:
    """A camera with an aperture of 24 mm; by default it looks down at the XY plane."""
    return CameraView(
        name=name,
        width=size[0],
        height=size[1],
        cam2world=look_at(eye, target, up),
        focal_length_mm=focal_length_mm,
        horizontal_aperture_mm=24.0,
        horizontal_aperture_offset_mm=offset_mm[0],
        vertical_aperture_offset_mm=offset_mm[1],
    )


def frame(
    *cameras: CameraView, objects: tuple[PlacedObject, ...] = (), seed: int = 7
) -> FrameParameters:
    """A frame without lights of its own."""
    return FrameParameters(frame=0, render_seed=seed, objects=objects, cameras=cameras)


def sphere_stage(folder: Path, radius: float) -> Path:
    """A labelled sphere about the origin."""
    stage = new_stage()
    sphere = UsdGeom.Sphere.Define(stage, "/World/Ball")
    sphere.CreateRadiusAttr(radius)
    set_label(sphere.GetPrim(), "ball")
    return save(stage, folder)


def furnished_stage(folder: Path) -> Path:
    """A floor, a light, two kinds of assets and two materials: enough for every annotator."""
    from pxr import UsdLux

    stage = new_stage()
    red = add_material(stage, "/World/Looks/red", color=(0.7, 0.1, 0.1))
    add_material(stage, "/World/Looks/blue", color=(0.1, 0.1, 0.7))
    floor = add_quad(stage, "/World/Room/Floor", half=3.0, label="floor")
    bind(floor.GetPrim(), red)
    backdrop = add_quad(stage, "/World/Room/Pit", half=1.0, z=-1.0)
    UsdGeom.XformCommonAPI(backdrop).SetTranslate(Gf.Vec3d(5.0, 0.0, 0.0))
    light = UsdLux.RectLight.Define(stage, "/World/Lamp")
    light.CreateWidthAttr(2.0)
    light.CreateHeightAttr(2.0)
    light.CreateIntensityAttr(10.0)
    UsdGeom.XformCommonAPI(light).SetTranslate(Gf.Vec3d(0.0, 0.0, 6.0))
    crate = add_library_asset(stage, "crate", "carton")
    cube = add_cube(stage, "/Library/crate/Body", size=1.0)
    UsdGeom.XformCommonAPI(cube).SetTranslate(Gf.Vec3d(0.0, 0.0, 0.5))
    bind(crate, red)
    add_library_asset(stage, "can", "can")
    can = UsdGeom.Cylinder.Define(stage, "/Library/can/Body")
    can.CreateRadiusAttr(0.25)
    can.CreateHeightAttr(0.8)
    UsdGeom.XformCommonAPI(can).SetTranslate(Gf.Vec3d(0.0, 0.0, 0.4))
    return save(stage, folder)


def furnished_frame(*, size: tuple[int, int] = (48, 36), seed: int = 7) -> FrameParameters:
    """Three objects on the floor of :func:`furnished_stage`, seen by two cameras."""
    return frame(
        camera((0.0, -4.0, 2.5), (0.0, 0.0, 0.3), size=size, up=(0.0, 0.0, 1.0)),
        camera((3.0, -3.0, 2.0), (0.0, 0.0, 0.3), size=size, up=(0.0, 0.0, 1.0), name="side"),
        objects=(
            PlacedObject(name="a", asset="crate", position_m=(-0.4, 0.2, 0.0)),
            PlacedObject(
                name="b",
                asset="crate",
                position_m=(0.9, 0.5, 0.0),
                orientation_wxyz=(0.9238795, 0.0, 0.0, 0.3826834),
                scale=0.6,
                tint_rgb=(0.5, 1.0, 0.5),
            ),
            PlacedObject(name="c", asset="can", position_m=(0.1, -0.9, 0.0)),
        ),
        seed=seed,
    )
