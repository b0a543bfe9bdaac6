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
    roughness_texture: str | None = None
    """File name; its grey level takes ``roughness``'s place."""
    normal_texture: str | None = None
    """File name; normals in the surface's own frame, 0..255 for -1..1, Y up."""
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
    """Semantic class; a COCO class's own spelling where it is one. Empty: no label."""
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
    target = folder / f"{record.name}.usdc"
    write_library(target, [(record, parts)])
    return target


def write_library(target: Path, assets: list[tuple[AssetRecord, list[Part]]]) -> None:
    """Writes one layer with a root prim for each asset; the first is its default prim.

    The same input gives the same bytes. Textures are named relative to the layer.
    """
    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    for index, (record, parts) in enumerate(assets):
        root = UsdGeom.Xform.Define(stage, f"/{record.name}")
        if index == 0:
            stage.SetDefaultPrim(root.GetPrim())
        _define_asset(stage, root.GetPrim(), record, parts)
    target.unlink(missing_ok=True)
    stage.GetRootLayer().Export(str(target))


def _define_asset(stage: Usd.Stage, root: Usd.Prim, record: AssetRecord, parts: list[Part]) -> None:
    looks: dict[Look, UsdShade.Material] = {}
    for index, part in enumerate(parts):
        if part.look not in looks:
            path = f"/{record.name}/Looks/{prim_name(part.look.name)}"
            looks[part.look] = write_look(stage, path, part.look)
        path = f"/{record.name}/Geometry/{prim_name(part.look.name)}_{index}"
        mesh = write_mesh(stage, path, part.mesh)
        UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(looks[part.look])
    for scope in ("Looks", "Geometry"):
        UsdGeom.Scope.Define(stage, f"/{record.name}/{scope}")
    _describe(root, record, parts)


def _describe(prim: Usd.Prim, record: AssetRecord, parts: list[Part]) -> None:
    points = np.concatenate([part.mesh.points_m for part in parts])
    low, high = points.min(0), points.max(0)
    model = UsdGeom.ModelAPI.Apply(prim)
    model.SetExtentsHint(Vt.Vec3fArray.FromNumpy(np.stack([low, high])))
    Usd.ModelAPI(prim).SetKind(Kind.Tokens.component)
    if record.label:
        UsdSemantics.LabelsAPI.Apply(prim, "class").CreateLabelsAttr([record.label])
    size = prim.CreateAttribute("simcloud:size_m", Sdf.ValueTypeNames.Float3, custom=True)
    size.Set(Gf.Vec3f(*(high - low).tolist()))
    prim.SetDocumentation(record.title)
    for key in ("placement", "author", "source", "licence"):
        prim.SetCustomDataByKey(f"simcloud:{key}", getattr(record, key))
    triangles = sum(len(part.mesh.faces) for part in parts)
    prim.SetCustomDataByKey("simcloud:triangles", triangles)


def write_mesh(stage: Usd.Stage, path: str, mesh: IndexedMesh) -> UsdGeom.Mesh:
    """Defines a mesh: triangles, vertex normals, texture coordinates ``st`` where it has any."""
    prim = UsdGeom.Mesh.Define(stage, path)
    prim.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(mesh.points_m))
    prim.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(mesh.faces.ravel()))
    prim.CreateFaceVertexCountsAttr(Vt.IntArray([3] * len(mesh.faces)))
    prim.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(mesh.normals))
    flat = len(mesh.normals) == 1
    prim.SetNormalsInterpolation(UsdGeom.Tokens.constant if flat else UsdGeom.Tokens.vertex)
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
    textures = _Textures(stage, path, repeats_per_m)
    color = surface.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f)
    if look.texture is None:
        color.Set(Gf.Vec3f(*look.color_rgb))
    else:
        texture = textures.define("Texture", look.texture)
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
    roughness = surface.CreateInput("roughness", Sdf.ValueTypeNames.Float)
    if look.roughness_texture is None:
        roughness.Set(look.roughness)
    else:
        texture = textures.define("Roughness", look.roughness_texture, raw=True)
        roughness.ConnectToSource(texture.CreateOutput("r", Sdf.ValueTypeNames.Float))
    if look.normal_texture is not None:
        texture = textures.define("Normal", look.normal_texture, raw=True)
        texture.CreateInput("scale", Sdf.ValueTypeNames.Float4).Set(Gf.Vec4f(2, 2, 2, 1))
        texture.CreateInput("bias", Sdf.ValueTypeNames.Float4).Set(Gf.Vec4f(-1, -1, -1, 0))
        normal = surface.CreateInput("normal", Sdf.ValueTypeNames.Normal3f)
        normal.ConnectToSource(texture.CreateOutput("rgb", Sdf.ValueTypeNames.Float3))
    surface.CreateInput("metallic", Sdf.ValueTypeNames.Float).Set(look.metallic)
    material.CreateSurfaceOutput().ConnectToSource(
        surface.CreateOutput("surface", Sdf.ValueTypeNames.Token)
    )
    return material


class _Textures:
    """The texture readers of one material; all of them share its texture coordinates."""

    def __init__(self, stage: Usd.Stage, path: str, repeats_per_m: float | None) -> None:
        self._stage = stage
        self._path = path
        self._repeats_per_m = repeats_per_m
        self._coordinates: UsdShade.Output | None = None

    def define(self, name: str, file: str, *, raw: bool = False) -> UsdShade.Shader:
        """A reader of a file that lies relative to the layer; ``raw`` for what is no colour."""
        coordinates = self._texcoords()
        texture = UsdShade.Shader.Define(self._stage, f"{self._path}/{name}")
        texture.CreateIdAttr("UsdUVTexture")
        texture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(Sdf.AssetPath(f"./{file}"))
        space = texture.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token)
        space.Set("raw" if raw else "sRGB")
        for axis in ("wrapS", "wrapT"):
            texture.CreateInput(axis, Sdf.ValueTypeNames.Token).Set("repeat")
        texture.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(coordinates)
        return texture

    def _texcoords(self) -> UsdShade.Output:
        if self._coordinates is None:
            reader = UsdShade.Shader.Define(self._stage, f"{self._path}/TexCoords")
            reader.CreateIdAttr("UsdPrimvarReader_float2")
            reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st")
            self._coordinates = reader.CreateOutput("result", Sdf.ValueTypeNames.Float2)
            if self._repeats_per_m is not None:
                self._coordinates = self._scaled(self._coordinates, self._repeats_per_m)
        return self._coordinates

    def _scaled(self, coordinates: UsdShade.Output, repeats_per_m: float) -> UsdShade.Output:
        transform = UsdShade.Shader.Define(self._stage, f"{self._path}/Transform")
        transform.CreateIdAttr("UsdTransform2d")
        transform.CreateInput("in", Sdf.ValueTypeNames.Float2).ConnectToSource(coordinates)
        scale = transform.CreateInput("scale", Sdf.ValueTypeNames.Float2)
        scale.Set(Gf.Vec2f(repeats_per_m, repeats_per_m))
        return transform.CreateOutput("result", Sdf.ValueTypeNames.Float2)
