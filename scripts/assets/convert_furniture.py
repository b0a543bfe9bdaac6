"""Remakes scenes/assets/<name>/ from the furniture catalogue of Sweet Home 3D.

    apt-get download sweethome3d-furniture && dpkg -x sweethome3d-furniture_*.deb catalogue
    pip install -r scripts/assets/requirements.txt
    python scripts/assets/convert_furniture.py catalogue scenes/assets

The Debian package carries each library as a zip; no Java is needed. What the converter does about
the catalogue's habits: sizes come from the catalogue, not from the model's arbitrary units; missing
normals are computed with a crease; a texture's alpha becomes a cut-out; display colours become
linear ones; shininess becomes roughness.
"""

from __future__ import annotations

import argparse
import math
import re
import shutil
import tempfile
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from furniture import FURNITURE, Draw, FurnitureModel
from mesh_ops import (
    FloatArray,
    crease_normals,
    drop_degenerate,
    index_corners,
    simplify,
    transfer_texcoords,
    unit,
)
from obj_model import ENCODING, MtlMaterial, ObjGroup, ObjModel, read_obj
from usd_asset import AssetRecord, Look, Part, write_asset

PACKAGE = "Debian sweethome3d-furniture 1.8-1"
LIBRARY = "BlendSwap-CC-0"
MAX_TEXTURE_PX = 512
JPEG_QUALITY = 88

# Catalogue frame (x right, y up, front +z) to asset frame (x right, z up, front -y).
TO_ASSET_FRAME = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """What the catalogue says about a model."""

    title: str
    author: str
    size_m: FloatArray
    """Width, height, depth: the catalogue's x, y, z."""
    rotation: FloatArray
    """(3, 3) from the file's axes to the catalogue's."""


@dataclass(frozen=True, slots=True)
class Surface:
    """The triangles of one material, in the asset frame."""

    material: MtlMaterial
    triangles: FloatArray
    """(T, 3, 3), metres."""
    normals: FloatArray
    """(T, 3, 3); zero where the file has none."""
    texcoords: FloatArray | None
    """(T, 3, 2)."""


def read_catalogue(path: Path) -> dict[str, CatalogueEntry]:
    """Entries of a library's properties file by the folder's name."""
    properties: dict[str, dict[str, str]] = {}
    for line in path.read_text(ENCODING).splitlines():
        if match := re.fullmatch(r"(\w+)#(\d+)=(.*)", line.strip()):
            properties.setdefault(match[2], {})[match[1]] = match[3]
    entries = {}
    for item in properties.values():
        if "model" in item:
            # Centimetres in the file.
            size_cm = [float(item[key]) for key in ("width", "height", "depth")]
            rotation = [float(x) for x in item.get("modelRotation", "1 0 0 0 1 0 0 0 1").split()]
            entries[Path(item["model"]).stem] = CatalogueEntry(
                title=item.get("name", ""),
                author=item.get("creator", ""),
                size_m=np.array(size_cm) / 100.0,
                rotation=np.array(rotation).reshape(3, 3),
            )
    return entries


def surfaces_of(model: ObjModel, entry: CatalogueEntry) -> list[Surface]:
    """The model at its catalogue size, on its base, facing -Y."""
    rotated = model.positions @ entry.rotation.T
    used = np.unique(np.concatenate([group.positions.ravel() for group in model.groups]))
    low, high = rotated[used].min(0), rotated[used].max(0)
    scale = entry.size_m / np.maximum(high - low, 1e-9)
    origin = (low + high) / 2.0
    origin[1] = low[1]
    points = ((rotated - origin) * scale) @ TO_ASSET_FRAME.T
    # Normals go by the inverse transpose of the scaling.
    normals = unit((model.normals @ entry.rotation.T) / scale) @ TO_ASSET_FRAME.T
    return [_surface(group, model, points, normals) for group in model.groups]


def _surface(group: ObjGroup, model: ObjModel, points: FloatArray, normals: FloatArray) -> Surface:
    triangles = points[group.positions]
    keep = drop_degenerate(triangles)
    corner_normals = np.zeros_like(triangles)
    given = group.normals >= 0
    corner_normals[given] = normals[group.normals[given]]
    texcoords: FloatArray | None = None
    if group.material.diffuse_texture is not None and (group.texcoords >= 0).any():
        texcoords = np.where(
            (group.texcoords >= 0)[..., None], model.texcoords[group.texcoords], 0.0
        )[keep]
    return Surface(group.material, triangles[keep], corner_normals[keep], texcoords)


def simplified(surface: Surface, keep: float) -> Surface:
    """The surface with about ``keep`` times its triangles; its normals are to be computed anew."""
    triangles = simplify(surface.triangles, keep=keep)
    triangles = triangles[drop_degenerate(triangles)]
    texcoords = surface.texcoords
    if texcoords is not None:
        texcoords = transfer_texcoords(triangles, surface.triangles, texcoords)
    return Surface(surface.material, triangles, np.zeros_like(triangles), texcoords)


def adapted(surface: Surface, model: FurnitureModel) -> Surface:
    """The surface without its maker's marks, and as coarse as the model's row asks for."""
    name = surface.material.name
    if name in model.removed:
        low, high = (np.array(corner) for corner in model.removed[name])
        inside = ((surface.triangles >= low) & (surface.triangles <= high)).all(axis=(1, 2))
        texcoords = surface.texcoords
        surface = Surface(
            surface.material,
            surface.triangles[~inside],
            surface.normals[~inside],
            None if texcoords is None else texcoords[~inside],
        )
    return simplified(surface, model.keep[name]) if name in model.keep else surface


def reseated(surfaces: list[Surface]) -> list[Surface]:
    """The same on the centre of its base again, which simplifying may have moved."""
    points = np.concatenate([surface.triangles.reshape(-1, 3) for surface in surfaces])
    origin = (points.min(0) + points.max(0)) / 2.0
    origin[2] = points[:, 2].min()
    return [replace(surface, triangles=surface.triangles - origin) for surface in surfaces]


def with_normals(surfaces: list[Surface]) -> list[Surface]:
    """Fills the corners that have no normal from the whole model's creases."""
    computed = crease_normals(np.concatenate([surface.triangles for surface in surfaces]))
    result, begin = [], 0
    for surface in surfaces:
        own = computed[begin : begin + len(surface.triangles)]
        begin += len(surface.triangles)
        given = np.linalg.norm(surface.normals, axis=2, keepdims=True) > 1e-8
        normals = np.where(given, surface.normals, own)
        result.append(Surface(surface.material, surface.triangles, normals, surface.texcoords))
    return result


def look_of(material: MtlMaterial, model: FurnitureModel, folder: Path) -> Look:
    """The material as UsdPreviewSurface; copies its texture into ``folder``."""
    shiny = max(material.specular) > 0.02
    roughness = math.sqrt(2.0 / (max(material.shininess, 1.0) + 2.0)) if shiny else 0.8
    texture, cut_out = None, False
    if material.diffuse_texture is not None:
        redrawn = model.redrawn.get(material.diffuse_texture.stem)
        if redrawn is not None:
            texture = draw_texture(redrawn, folder)
        else:
            texture, cut_out = copy_texture(material.diffuse_texture, folder)
    exponent = 1.0 if model.linear else 2.2
    red, green, blue = (float(np.clip(x, 0.01, 0.92)) ** exponent for x in material.diffuse)
    return Look(
        name=material.name,
        color_rgb=(red, green, blue),
        texture=texture,
        roughness=model.roughness.get(material.name, float(np.clip(roughness, 0.12, 0.9))),
        metallic=1.0 if material.name in model.metals else 0.0,
        # 0 is what authors leave for "not set"; the viewer shows such materials solid.
        opacity=max(material.opacity, 0.12) if 0.001 < material.opacity < 0.95 else 1.0,
        cut_out=cut_out,
    )


def draw_texture(draw: Draw, folder: Path) -> str:
    """Writes a picture of our own in place of the model's; returns its file name."""
    name = draw.__name__
    picture = draw(np.random.default_rng(zlib.crc32(name.encode("ascii"))))
    bgr = np.round(np.clip(picture[..., ::-1], 0.0, 1.0) * 255.0).astype(np.uint8)
    cv2.imwrite(str(folder / f"{name}.jpg"), bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return f"{name}.jpg"


def copy_texture(source: Path, folder: Path) -> tuple[str, bool]:
    """Writes the picture at 512 px or less; returns its name and whether its alpha cuts out."""
    picture = cv2.imread(str(source), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise ValueError(f"{source} is not a picture that OpenCV reads")
    shrink = MAX_TEXTURE_PX / max(picture.shape[:2])
    if shrink < 1.0:
        picture = cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    cut_out = picture.ndim == 3 and picture.shape[2] == 4 and int(picture[..., 3].min()) < 250
    stem = re.sub(r"\W", "_", source.stem)
    if cut_out:
        name = f"{stem}.png"
        cv2.imwrite(str(folder / name), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    else:
        name = f"{stem}.jpg"
        color = picture if picture.ndim == 2 else picture[..., :3]
        cv2.imwrite(str(folder / name), color, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return name, cut_out


def convert(library: Path, entry: CatalogueEntry, model: FurnitureModel, target: Path) -> None:
    """Writes one asset with its textures and its licence."""
    source = library / model.folder
    folder = target / model.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    licence = next(path for path in sorted(source.iterdir()) if "license" in path.name.lower())
    shutil.copyfile(licence, folder / f"LICENSE{licence.suffix}")
    surfaces = reseated(
        [
            adapted(surface, model)
            for surface in surfaces_of(read_obj(source / f"{model.folder}.obj"), entry)
        ]
    )
    parts = [
        Part(
            mesh=index_corners(surface.triangles, surface.normals, surface.texcoords),
            look=look_of(surface.material, model, folder),
        )
        for surface in with_normals(surfaces)
    ]
    record = AssetRecord(
        name=model.name,
        label=model.label,
        placement=model.placement,
        author=model.author or entry.author,
        source=f"{PACKAGE}, {LIBRARY}/{model.folder}, Blend Swap {model.blend_swap}",
        licence="CC0 1.0",
        title=entry.title,
    )
    path = write_asset(folder, record, parts)
    triangles = sum(len(part.mesh.faces) for part in parts)
    print(f"{model.name}: {triangles} triangles, {path.stat().st_size // 1024} KB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("catalogue", type=Path, help="where the Debian package was unpacked")
    parser.add_argument("assets", type=Path, help="scenes/assets")
    parser.add_argument("--only", help="convert this asset alone")
    arguments = parser.parse_args()
    archive = arguments.catalogue / "usr/share/sweethome3d/furniture" / f"{LIBRARY}.sh3f"
    with tempfile.TemporaryDirectory() as scratch:
        with zipfile.ZipFile(archive) as library:
            library.extractall(scratch)
        entries = read_catalogue(Path(scratch) / "PluginFurnitureCatalog.properties")
        for model in FURNITURE:
            if arguments.only in (None, model.name):
                convert(
                    Path(scratch) / LIBRARY.lower(),
                    entries[model.folder],
                    model,
                    arguments.assets,
                )


if __name__ == "__main__":
    main()
