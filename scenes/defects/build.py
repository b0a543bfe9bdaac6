"""Writes scenes/defects: its stage, the library of defects and all textures.

    python scenes/defects/build.py [folder]

Everything is procedural and seeded by name: the same script gives the same bytes, and a new variant
changes no other. Conventions: scenes/README.md.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
from pxr import Usd, UsdGeom, UsdLux, UsdShade

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "scripts" / "assets"))

from defect_maps import Maps, draw  # noqa: E402 - a script's neighbour, not a package
from defect_outlines import OUTLINES, TILE_M, Island  # noqa: E402
from flat_mesh import flat_mesh  # noqa: E402
from mesh_ops import IndexedMesh  # noqa: E402
from steel_textures import FINISHES, PLATES, WIDTH_M, albedo, relief  # noqa: E402
from usd_asset import AssetRecord, Look, Part, write_library, write_look, write_mesh  # noqa: E402

VARIANTS = 8
COLUMNS = 4
ABOVE_PLATE_M = 3e-5
"""A tenth of a pixel at most in parallax, a thousand times what float32 resolves at the camera's
distance, and below where a renderer's shadow rays start: nothing flickers or casts a shadow."""

PLATE_HALF_M = 0.16
AMBIENT = 0.10

METALLIC = {
    "crazing": 0.2,
    "inclusion": 0.15,
    "patches": 0.35,
    "pitted_surface": 0.55,
    "rolled-in_scale": 0.25,
    "scratches": 1.0,
}
"""Oxide and slag are no metals; fresh scratches are nothing else."""


def outline(label: str, variant: int) -> list[Island]:
    """The islands of one instance, the same each time."""
    return OUTLINES[label](_rng(f"outline {label} {variant}"))


def asset_name(label: str, variant: int) -> str:
    """Name below /Library."""
    return f"{label.replace('-', '_')}_{variant:02d}"


def origin(islands: list[Island]) -> np.ndarray:
    """(2,) where the asset's origin lies on its tile: the middle of its bounds."""
    points = np.concatenate([island.ring for island in islands])
    return np.asarray((points.min(axis=0) + points.max(axis=0)) / 2.0)


def _rng(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode("ascii")))


def _picture(path: Path, pixels: np.ndarray, quality: int) -> None:
    """A JPEG without chroma subsampling, which would blur normals."""
    bgr = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR]
    cv2.imwrite(
        str(path),
        np.ascontiguousarray(bgr),
        [*options, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444],
    )


def _atlas(tiles: list[np.ndarray]) -> np.ndarray:
    rows = [np.concatenate(tiles[i : i + COLUMNS], axis=1) for i in range(0, VARIANTS, COLUMNS)]
    return np.concatenate(rows, axis=0)


def _texcoords(points: np.ndarray, variant: int) -> np.ndarray:
    """Place of tile points (N, 2) in the atlas, V up."""
    row, column = divmod(variant, COLUMNS)
    rows = VARIANTS // COLUMNS
    u = (points[:, 0] / TILE_M + 0.5 + column) / COLUMNS
    v = 1.0 - (0.5 - points[:, 1] / TILE_M + row) / rows
    return np.stack([u, v], axis=1)


def decal(islands: list[Island], variant: int) -> IndexedMesh:
    """A fan of triangles around each island's centre, all in one plane above the plate."""
    middle = origin(islands)
    points, texcoords, faces = [], [], []
    count = 0
    for island in islands:
        if len(island.ring) == 4:  # a ribbon's segment
            fan, corners = island.ring, np.array([[0, 1, 2], [0, 2, 3]])
        else:
            fan = np.concatenate([island.centre[None], island.ring])
            rim = np.arange(1, len(fan))
            corners = np.stack([np.zeros_like(rim), rim, np.roll(rim, -1)], axis=1)
        faces.append(corners + count)
        points.append(fan - middle)
        texcoords.append(_texcoords(fan, variant))
        count += len(fan)
    return flat_mesh(
        np.concatenate(points), np.concatenate(texcoords), np.concatenate(faces), ABOVE_PLATE_M
    )


def defects(folder: Path, textures: Path) -> int:
    """One layer a class, with its variants and their three atlases."""
    triangles = 0
    for label in OUTLINES:
        stem = label.replace("-", "_")
        maps: list[Maps] = []
        assets = []
        look = Look(
            name="surface",
            texture=f"../textures/{stem}.jpg",
            roughness_texture=f"../textures/{stem}_roughness.jpg",
            normal_texture=f"../textures/{stem}_normal.jpg",
            metallic=METALLIC[label],
        )
        for variant in range(VARIANTS):
            islands = outline(label, variant)
            maps.append(draw(label, _rng(f"surface {label} {variant}"), islands))
            mesh = decal(islands, variant)
            triangles += len(mesh.faces)
            record = AssetRecord(
                name=asset_name(label, variant),
                label=label,
                placement="plate",
                author="Simcloud authors",
                source="scenes/defects/build.py",
                licence="CC0 1.0",
                title=f"{label}, variant {variant + 1} of {VARIANTS}",
            )
            assets.append((record, [Part(mesh, look)]))
        _picture(textures / f"{stem}.jpg", _atlas([one.albedo for one in maps]), 82)
        _picture(textures / f"{stem}_roughness.jpg", _atlas([one.roughness for one in maps]), 75)
        _picture(textures / f"{stem}_normal.jpg", _atlas([one.normal for one in maps]), 86)
        write_library(folder / f"{stem}.usdc", assets)
    return triangles


def plates(stage: Usd.Stage, textures: Path) -> None:
    """The plate itself and the finishes that it may have."""
    for finish in FINISHES:
        normal = relief(finish, _rng(f"finish {finish.name}"))
        _picture(textures / f"finish_{finish.name}_normal.jpg", normal, 84)
    UsdGeom.Scope.Define(stage, "/World/Looks")
    for plate in PLATES:
        _picture(
            textures / f"plate_{plate.name}.jpg", albedo(plate, _rng(f"plate {plate.name}")), 82
        )
        look = Look(
            name=plate.name,
            texture=f"textures/plate_{plate.name}.jpg",
            normal_texture=f"textures/finish_{plate.finish}_normal.jpg",
            roughness=plate.roughness,
            metallic=plate.metallic,
        )
        write_look(stage, f"/World/Looks/{plate.name}", look, repeats_per_m=1.0 / WIDTH_M)
    UsdGeom.Scope.Define(stage, "/World/Room")
    half = PLATE_HALF_M
    corners = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    mesh = write_mesh(stage, "/World/Room/Plate", flat_mesh(corners, corners, faces, 0.0))
    first = UsdShade.Material.Get(stage, f"/World/Looks/{PLATES[0].name}")
    UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(first)


def library(stage: Usd.Stage) -> None:
    """One class prim an instance: in no picture until a frame places it."""
    UsdGeom.Scope.Define(stage, "/Library")
    for label in OUTLINES:
        layer = f"library/{label.replace('-', '_')}.usdc"
        for variant in range(VARIANTS):
            name = asset_name(label, variant)
            prim = stage.CreateClassPrim(f"/Library/{name}")
            prim.GetReferences().AddReference(layer, f"/{name}")


def ambient(stage: Usd.Stage) -> None:
    """The hall around the inspection line, dim and even; metal is black without it."""
    dome = UsdLux.DomeLight.Define(stage, "/World/Lights/Hall")
    dome.CreateIntensityAttr(AMBIENT)


def build(folder: Path) -> None:
    """Writes all files below ``folder``."""
    for name in ("library", "textures"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    triangles = defects(folder / "library", folder / "textures")
    target = folder / "stage.usda"
    target.unlink(missing_ok=True)
    # At its place from the start, so that the references resolve while it is built.
    stage = Usd.Stage.CreateNew(str(target))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    world = UsdGeom.Xform.Define(stage, "/World")
    stage.SetDefaultPrim(world.GetPrim())
    stage.SetMetadata("comment", "Written by scenes/defects/build.py; do not edit.")
    plates(stage, folder / "textures")
    ambient(stage)
    library(stage)
    stage.Save()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{len(OUTLINES) * VARIANTS} defects, {triangles} triangles, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
