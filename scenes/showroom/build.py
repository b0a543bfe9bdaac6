"""Writes scenes/showroom/stage.usda from the assets and textures that lie in the repository.

    python scenes/showroom/build.py

The stage is a furnished room's shell, its materials, and the library of what may stand in it; what
does stand where is drawn for every frame. Conventions: scenes/README.md. The same files give the
same bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from pxr import Sdf, Usd, UsdGeom, UsdLux, UsdSemantics, UsdShade, Vt

HERE = Path(__file__).resolve().parent
ASSETS = HERE.parent / "assets"
sys.path.insert(0, str(HERE.parents[1] / "scripts" / "assets"))

from room_textures import ROOM_TEXTURES  # noqa: E402 - a script's neighbour, not a package
from usd_asset import Look, write_look  # noqa: E402

HALF_WIDTH_M = 3.3
BACK_Y_M = 2.4
FRONT_Y_M = -6.0
HEIGHT_M = 3.4
SKIRTING_HEIGHT_M = 0.09
SKIRTING_DEPTH_M = 0.015

Corner = tuple[float, float, float]


def room(stage: Usd.Stage) -> None:
    """Floor, three walls, skirting boards, sockets; open to the front and above to let light in."""
    UsdGeom.Scope.Define(stage, "/World/Room")
    left, right, back, front = -HALF_WIDTH_M, HALF_WIDTH_M, BACK_Y_M, FRONT_Y_M
    depth = back - front
    # Corners counter-clockwise seen from inside, from the lower left; width and height in metres.
    planes: dict[str, tuple[str, str, list[Corner], float, float]] = {
        "Floor": (
            "floor",
            "floor_oak",
            [(left, front, 0), (right, front, 0), (right, back, 0), (left, back, 0)],
            right - left,
            depth,
        ),
        "BackWall": (
            "wall",
            "wall_white",
            _wall((left, back), (right, back)),
            right - left,
            HEIGHT_M,
        ),
        "LeftWall": ("wall", "wall_white", _wall((left, front), (left, back)), depth, HEIGHT_M),
        "RightWall": ("wall", "wall_white", _wall((right, back), (right, front)), depth, HEIGHT_M),
    }
    for name, (label, material, corners, width, height) in planes.items():
        texcoords = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)]
        mesh = quads(stage, f"/World/Room/{name}", [corners], [texcoords])
        labels = UsdSemantics.LabelsAPI.Apply(mesh.GetPrim(), "class")
        labels.CreateLabelsAttr([label])
        bind(stage, mesh.GetPrim(), material)
    thick = SKIRTING_DEPTH_M
    boards = {
        "SkirtingBack": ((left, back - thick), (right, back)),
        "SkirtingLeft": ((left, front), (left + thick, back - thick)),
        "SkirtingRight": ((right - thick, front), (right, back - thick)),
    }
    for name, (low, high) in boards.items():
        mesh = box(stage, f"/World/Room/{name}", (*low, 0.0), (*high, SKIRTING_HEIGHT_M))
        bind(stage, mesh.GetPrim(), "skirting")
    for index, (x, z) in enumerate(((-1.9, 0.27), (1.35, 0.27))):
        begin, end = (x, back - 0.012, z), (x + 0.081, back, z + 0.081)
        bind(stage, box(stage, f"/World/Room/SocketBack{index}", begin, end).GetPrim(), "skirting")
    for name, (y, z) in {"SocketLeft": (0.7, 0.27), "SwitchLeft": (-1.5, 1.05)}.items():
        begin, end = (left, y, z), (left + 0.012, y + 0.081, z + 0.081)
        bind(stage, box(stage, f"/World/Room/{name}", begin, end).GetPrim(), "skirting")


def _wall(start: tuple[float, float], end: tuple[float, float]) -> list[Corner]:
    """A wall from ``start`` on the inside's left to ``end`` on its right."""
    return [(*start, 0.0), (*end, 0.0), (*end, HEIGHT_M), (*start, HEIGHT_M)]


def quads(
    stage: Usd.Stage,
    path: str,
    corners: list[list[Corner]],
    texcoords: list[list[tuple[float, float]]],
) -> UsdGeom.Mesh:
    """A mesh of flat quads, each with its own vertices; texture coordinates in metres."""
    points = np.array(corners, np.float32).reshape(-1, 4, 3)
    normals = np.cross(points[:, 1] - points[:, 0], points[:, 3] - points[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    flat = points.reshape(-1, 3)
    mesh = UsdGeom.Mesh.Define(stage, path)
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(flat))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray(range(len(flat))))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray([4] * len(points)))
    mesh.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(np.repeat(normals, 4, axis=0)))
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateDoubleSidedAttr(True)
    mesh.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(np.stack([flat.min(0), flat.max(0)])))
    primvar = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar(
        "st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.vertex
    )
    flat_texcoords = np.array(texcoords, np.float32).reshape(-1, 2)
    primvar.Set(Vt.Vec2fArray.FromNumpy(flat_texcoords))
    return mesh


def box(stage: Usd.Stage, path: str, low: Corner, high: Corner) -> UsdGeom.Mesh:
    """The four upright sides and the top of a box, without what lies below."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    ring = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    sides: list[list[Corner]] = []
    for (ax, ay), (bx, by) in zip(ring, [*ring[1:], ring[0]], strict=True):
        sides.append([(ax, ay, z0), (bx, by, z0), (bx, by, z1), (ax, ay, z1)])
    sides.append([(x, y, z1) for x, y in ring])
    lengths = [float(np.linalg.norm(np.subtract(side[1], side[0]))) for side in sides]
    heights = [float(np.linalg.norm(np.subtract(side[3], side[0]))) for side in sides]
    texcoords = [
        [(0.0, 0.0), (length, 0.0), (length, height), (0.0, height)]
        for length, height in zip(lengths, heights, strict=True)
    ]
    return quads(stage, path, sides, texcoords)


def bind(stage: Usd.Stage, prim: Usd.Prim, material: str) -> None:
    """Binds a material of /World/Looks."""
    look = UsdShade.Material.Get(stage, f"/World/Looks/{material}")
    UsdShade.MaterialBindingAPI.Apply(prim).Bind(look)


def looks(stage: Usd.Stage) -> None:
    """Every floor and wall material, tiled at its physical size."""
    UsdGeom.Scope.Define(stage, "/World/Looks")
    for texture in ROOM_TEXTURES:
        look = Look(
            name=texture.name,
            texture=f"textures/{texture.name}.jpg",
            roughness=texture.roughness,
        )
        write_look(stage, f"/World/Looks/{texture.name}", look, repeats_per_m=1.0 / texture.width_m)
    paint = Look(name="skirting", color_rgb=(0.62, 0.61, 0.58), roughness=0.5)
    write_look(stage, "/World/Looks/skirting", paint)


def library(stage: Usd.Stage) -> int:
    """One class prim per asset: abstract, so that it is in no picture until it is referenced."""
    UsdGeom.Scope.Define(stage, "/Library")
    names = sorted(path.stem for path in ASSETS.glob("*/*.usdc"))
    for name in names:
        prim = stage.CreateClassPrim(f"/Library/{name}")
        prim.GetReferences().AddReference(f"../assets/{name}/{name}.usdc")
    return len(names)


def environments(stage: Usd.Stage) -> int:
    """One class prim per HDRI, oriented with its pole up."""
    UsdGeom.Scope.Define(stage, "/Environments")
    names = sorted(path.stem for path in (ASSETS / "environments").glob("*.exr"))
    for name in names:
        prim = stage.CreateClassPrim(f"/Environments/{name}")
        prim.SetTypeName("DomeLight")
        dome = UsdLux.DomeLight(prim)
        dome.CreateTextureFileAttr(Sdf.AssetPath(f"../assets/environments/{name}.exr"))
        dome.CreateTextureFormatAttr(UsdLux.Tokens.latlong)
        dome.CreateIntensityAttr(1.0)
        # Turns the picture about the world's vertical; a DomeLight's own pole is +Y.
        dome.AddRotateZOp(opSuffix="azimuth").Set(0.0)
        dome.OrientToStageUpAxis()
    return len(names)


def main() -> None:
    target = HERE / "stage.usda"
    target.unlink(missing_ok=True)
    # At its place from the start, so that the references resolve while it is built.
    stage = Usd.Stage.CreateNew(str(target))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    world = UsdGeom.Xform.Define(stage, "/World")
    stage.SetDefaultPrim(world.GetPrim())
    stage.SetMetadata("comment", "Written by scenes/showroom/build.py; do not edit.")
    looks(stage)
    room(stage)
    assets, domes = library(stage), environments(stage)
    stage.Save()
    print(f"{target.name}: {assets} assets, {domes} environments, {len(ROOM_TEXTURES)} materials")


if __name__ == "__main__":
    main()
