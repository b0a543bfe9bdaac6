"""Writing of one asset as a USD layer in the asset frame of scenes/README.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mesh_ops import IndexedMesh
from pxr import Gf, Kind, Sdf, Usd, UsdGeom, UsdSemantics, UsdShade, Vt


@dataclass(frozen=True, slots=True)
class Look:
    """A UsdPreviewSurface material."""

    name: str
    color_rgb: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Linear; not used where there is a texture."""
    texture: str | None = None
    """File name beside the asset; sRGB, its alpha is the opacity when ``cut_out``."""
    roughness: float = 0.6
    metallic: float = 0.0
    opacity: float = 1.0
    cut_out: bool = False
    """The texture's alpha decides per point whether there is a surface at all."""
    emission_rgb: tuple[float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One mesh with one material."""

    mesh: IndexedMesh
    look: Look


@dataclass(frozen=True, slots=True)
class AssetRecord:
    """What is said about an asset besides its shape; written into the layer, read by the table."""

    name: str
    label: str
    """Semantic class; a COCO class's own spelling where it is one."""
    placement: str
    """Hint for scene generators; the values are in scenes/README.md."""
    author: str
    source: str
    licence: str
    title: str


CUT_OUT_THRESHOLD = 0.5


def prim_name(text: str) -> str:
    """A valid USD prim name near ``text``."""
    name = re.sub(r"\W", "_", text)
    return name if not name[:1].isdigit() else f"_{name}"


def write_asset(folder: Path, record: AssetRecord, parts: list[Part]) -> Path:
    """Writes ``<folder>/<name>.usdc`` and returns its path; the same input gives the same bytes."""
    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    root = UsdGeom.Xform.Define(stage, f"/{record.name}")
    stage.SetDefaultPrim(root.GetPrim())
    looks: dict[Look, UsdShade.Material] = {}
    for index, part in enumerate(parts):
        if part.look not in looks:
            path = f"/{record.name}/Looks/{prim_name(part.look.name)}"
            looks[part.look] = write_look(stage, path, part.look)
        path = f"/{record.name}/Geometry/{prim_name(part.look.name)}_{index}"
        mesh = _write_mesh(stage, path, part.mesh)
        UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(looks[part.look])
    for scope in ("Looks", "Geometry"):
        UsdGeom.Scope.Define(stage, f"/{record.name}/{scope}")
    _describe(root.GetPrim(), record, parts)
    target = folder / f"{record.name}.usdc"
    target.unlink(missing_ok=True)
    stage.GetRootLayer().Export(str(target))
    return target


def _describe(prim: Usd.Prim, record: AssetRecord, parts: list[Part]) -> None:
    points = np.concatenate([part.mesh.points_m for part in parts])
    low, high = points.min(0), points.max(0)
    model = UsdGeom.ModelAPI.Apply(prim)
    model.SetExtentsHint(Vt.Vec3fArray.FromNumpy(np.stack([low, high])))
    Usd.ModelAPI(prim).SetKind(Kind.Tokens.component)
    labels = UsdSemantics.LabelsAPI.Apply(prim, "class")
    labels.CreateLabelsAttr([record.label])
    size = prim.CreateAttribute("simcloud:size_m", Sdf.ValueTypeNames.Float3, custom=True)
    size.Set(Gf.Vec3f(*(high - low).tolist()))
    prim.SetDocumentation(record.title)
    for key in ("placement", "author", "source", "licence"):
        prim.SetCustomDataByKey(f"simcloud:{key}", getattr(record, key))
    triangles = sum(len(part.mesh.faces) for part in parts)
    prim.SetCustomDataByKey("simcloud:triangles", triangles)


def _write_mesh(stage: Usd.Stage, path: str, mesh: IndexedMesh) -> UsdGeom.Mesh:
    prim = UsdGeom.Mesh.Define(stage, path)
    prim.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(mesh.points_m))
    prim.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(mesh.faces.ravel()))
    prim.CreateFaceVertexCountsAttr(Vt.IntArray([3] * len(mesh.faces)))
    prim.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(mesh.normals))
    prim.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    prim.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    # The catalogues wind their faces either way.
    prim.CreateDoubleSidedAttr(True)
    prim.CreateExtentAttr(
        Vt.Vec3fArray.FromNumpy(np.stack([mesh.points_m.min(0), mesh.points_m.max(0)]))
    )
    if mesh.texcoords is not None:
        primvar = UsdGeom.PrimvarsAPI(prim).CreatePrimvar(
            "st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.vertex
        )
        primvar.Set(Vt.Vec2fArray.FromNumpy(mesh.texcoords))
    return prim


def write_look(
    stage: Usd.Stage, path: str, look: Look, *, repeats_per_m: float | None = None
) -> UsdShade.Material:
    """Defines a material.

    Args:
        stage: where to.
        path: of the material prim.
        look: its appearance.
        repeats_per_m: for surfaces whose texture coordinates are in metres, how often the texture
            repeats along one; None where the coordinates are the texture's own.
    """
    material = UsdShade.Material.Define(stage, path)
    surface = UsdShade.Shader.Define(stage, f"{path}/Surface")
    surface.CreateIdAttr("UsdPreviewSurface")
    color = surface.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f)
    if look.texture is None:
        color.Set(Gf.Vec3f(*look.color_rgb))
    else:
        texture = _write_texture(stage, path, look.texture, repeats_per_m)
        color.ConnectToSource(texture.CreateOutput("rgb", Sdf.ValueTypeNames.Float3))
        if look.cut_out:
            opacity = surface.CreateInput("opacity", Sdf.ValueTypeNames.Float)
            opacity.ConnectToSource(texture.CreateOutput("a", Sdf.ValueTypeNames.Float))
            threshold = surface.CreateInput("opacityThreshold", Sdf.ValueTypeNames.Float)
            threshold.Set(CUT_OUT_THRESHOLD)
    if look.opacity < 1.0:
        surface.CreateInput("opacity", Sdf.ValueTypeNames.Float).Set(look.opacity)
    if look.emission_rgb is not None:
        glow = surface.CreateInput("emissiveColor", Sdf.ValueTypeNames.Color3f)
        glow.Set(Gf.Vec3f(*look.emission_rgb))
    surface.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(look.roughness)
    surface.CreateInput("metallic", Sdf.ValueTypeNames.Float).Set(look.metallic)
    material.CreateSurfaceOutput().ConnectToSource(
        surface.CreateOutput("surface", Sdf.ValueTypeNames.Token)
    )
    return material


def _write_texture(
    stage: Usd.Stage, path: str, file: str, repeats_per_m: float | None
) -> UsdShade.Shader:
    reader = UsdShade.Shader.Define(stage, f"{path}/TexCoords")
    reader.CreateIdAttr("UsdPrimvarReader_float2")
    reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st")
    coordinates = reader.CreateOutput("result", Sdf.ValueTypeNames.Float2)
    if repeats_per_m is not None:
        transform = UsdShade.Shader.Define(stage, f"{path}/Transform")
        transform.CreateIdAttr("UsdTransform2d")
        transform.CreateInput("in", Sdf.ValueTypeNames.Float2).ConnectToSource(coordinates)
        scale = transform.CreateInput("scale", Sdf.ValueTypeNames.Float2)
        scale.Set(Gf.Vec2f(repeats_per_m, repeats_per_m))
        coordinates = transform.CreateOutput("result", Sdf.ValueTypeNames.Float2)
    texture = UsdShade.Shader.Define(stage, f"{path}/Texture")
    texture.CreateIdAttr("UsdUVTexture")
    texture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(Sdf.AssetPath(f"./{file}"))
    texture.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set("sRGB")
    for axis in ("wrapS", "wrapT"):
        texture.CreateInput(axis, Sdf.ValueTypeNames.Token).Set("repeat")
    texture.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(coordinates)
    return texture
