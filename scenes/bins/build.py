"""Writes scenes/bins: its stage, the goods, the containers and all textures.

    python scenes/bins/build.py [folder]

Everything is procedural and seeded by name: the same script gives the same bytes, and a new item
changes no other. Conventions: scenes/README.md.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
from pxr import Gf, Sdf, Usd, UsdGeom, UsdLux, UsdShade

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "scripts" / "assets"))

import item_art as art  # noqa: E402 - a script's neighbour, not a package
from bin_cells import CELLS, COLORS  # noqa: E402
from bin_goods import ITEMS  # noqa: E402
from mesh_ops import crease_normals, index_corners  # noqa: E402
from noise import rgb  # noqa: E402
from shapes import Shape, box, join  # noqa: E402
from usd_asset import AssetRecord, Look, Part, write_library, write_look, write_mesh  # noqa: E402

JPEG_QUALITY = 80
AMBIENT = 0.12
CELL_PX = 256


def _rng(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode("ascii")))


def _picture(path: Path, picture: np.ndarray) -> None:
    bgr = np.round(np.clip(picture, 0.0, 1.0)[..., ::-1] * 255.0).astype(np.uint8)
    cv2.imwrite(str(path), bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def _parts(painted: list[tuple[Shape, Look]]) -> list[Part]:
    """Meshes with the middle of the base of them all at the origin."""
    points = np.concatenate([shape.triangles.reshape(-1, 3) for shape, _ in painted])
    low, high = points.min(axis=0), points.max(axis=0)
    origin = np.array([(low[0] + high[0]) / 2.0, (low[1] + high[1]) / 2.0, low[2]])
    parts = []
    for shape, look in painted:
        triangles = shape.triangles - origin
        texcoords = shape.texcoords if look.texture is not None else None
        parts.append(Part(index_corners(triangles, crease_normals(triangles), texcoords), look))
    return parts


def _record(name: str, label: str, placement: str, title: str) -> AssetRecord:
    return AssetRecord(
        name=name,
        label=label,
        placement=placement,
        author="Simcloud authors",
        source="scenes/bins/build.py",
        licence="CC0 1.0",
        title=title,
    )


def items(folder: Path) -> int:
    """One layer with all goods, a texture each."""
    assets = []
    for item in ITEMS:
        _picture(folder / "textures" / f"{item.name}.jpg", item.picture(_rng(f"art {item.name}")))
        parts = _parts(item.build(_rng(f"shape {item.name}"), f"../textures/{item.name}.jpg"))
        assets.append((_record(item.name, item.label, "bin", item.title), parts))
    write_library(folder / "library" / "items.usdc", assets)
    return sum(len(part.mesh.faces) for _, parts in assets for part in parts)


def cells(folder: Path) -> None:
    """One layer with all containers; they carry no label."""
    textures = folder / "textures"
    _picture(textures / "cloth.jpg", art.cloth(_rng("cloth"), CELL_PX, rgb(222, 220, 214)))
    _picture(textures / "strap.jpg", art.elastic(_rng("strap"), CELL_PX))
    slip = art.sheet(192, 72, art.WHITE)
    art.bars(slip, _rng("slip"), (0.06, 0.10, 0.94, 0.90))
    _picture(textures / "slip.jpg", slip)
    assets = [
        (_record(cell.name, "", "fixed", cell.title), _parts(cell.build(_rng(cell.name))))
        for cell in CELLS
    ]
    write_library(folder / "library" / "cells.usdc", assets)


def surroundings(stage: Usd.Stage) -> None:
    """What shows beside the bin: the shelf's frame below, beside and behind it."""
    UsdGeom.Scope.Define(stage, "/World/Looks")
    frame = Look(name="frame", color_rgb=(0.20, 0.21, 0.22), roughness=0.55, metallic=0.2)
    material = write_look(stage, "/World/Looks/frame", frame)
    UsdGeom.Scope.Define(stage, "/World/Room")
    shelf = join(
        box((-0.9, -0.21, -0.06), (0.9, 0.32, -0.002), bevel_m=0.004),
        box((-0.9, -0.21, 0.50), (0.9, 0.32, 0.56), bevel_m=0.004),
        box((-0.275, -0.21, -0.002), (-0.235, 0.32, 0.50), bevel_m=0.004),
        box((0.235, -0.21, -0.002), (0.275, 0.32, 0.50), bevel_m=0.004),
        box((-0.9, 0.30, -0.002), (0.9, 0.32, 0.50)),
    )
    mesh = index_corners(shelf.triangles, crease_normals(shelf.triangles), None)
    prim = write_mesh(stage, "/World/Room/Shelf", mesh).GetPrim()
    UsdShade.MaterialBindingAPI.Apply(prim).Bind(material)


def library(stage: Usd.Stage) -> None:
    """One class prim an asset: in no picture until a frame places it."""
    UsdGeom.Scope.Define(stage, "/Library")
    for item in ITEMS:
        prim = stage.CreateClassPrim(f"/Library/{item.name}")
        prim.GetReferences().AddReference("library/items.usdc", f"/{item.name}")
    for cell in CELLS:
        kind = cell.name.split("_", maxsplit=1)[0]
        for color, value in COLORS[kind].items():
            prim = stage.CreateClassPrim(f"/Library/{cell.name}_{color}")
            prim.GetReferences().AddReference("library/cells.usdc", f"/{cell.name}")
            _paint(stage, prim, kind, value)


def _paint(stage: Usd.Stage, cell: Usd.Prim, kind: str, color: tuple[float, float, float]) -> None:
    """The colour of one cell, over what its layer says: no geometry is stored twice."""
    if kind == "pod":
        texture = stage.OverridePrim(cell.GetPath().AppendPath("Looks/cloth/Texture"))
        scale = UsdShade.Shader(texture).CreateInput("scale", Sdf.ValueTypeNames.Float4)
        scale.Set(Gf.Vec4f(*color, 1.0))
    else:
        surface = stage.OverridePrim(cell.GetPath().AppendPath("Looks/plastic/Surface"))
        base = UsdShade.Shader(surface).CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f)
        base.Set(Gf.Vec3f(*color))


def build(folder: Path) -> None:
    """Writes all files below ``folder``."""
    for name in ("library", "textures"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    triangles = items(folder)
    cells(folder)
    target = folder / "stage.usda"
    target.unlink(missing_ok=True)
    # At its place from the start, so that the references resolve while it is built.
    stage = Usd.Stage.CreateNew(str(target))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    world = UsdGeom.Xform.Define(stage, "/World")
    stage.SetDefaultPrim(world.GetPrim())
    stage.SetMetadata("comment", "Written by scenes/bins/build.py; do not edit.")
    surroundings(stage)
    UsdLux.DomeLight.Define(stage, "/World/Lights/Hall").CreateIntensityAttr(AMBIENT)
    library(stage)
    stage.Save()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{len(ITEMS)} items, {triangles} triangles, {len(CELLS)} cells, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
