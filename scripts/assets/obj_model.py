"""Reading of Wavefront OBJ and MTL files as the furniture catalogues contain them.

Faces may be n-gons with mixed winding, most files carry no normals, indices may be negative, and
materials name textures that are not there. All of that is resolved or reported here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

ENCODING = "latin-1"
"""The catalogues and their models are older than UTF-8 habits."""


@dataclass(frozen=True, slots=True)
class MtlMaterial:
    """One ``newmtl`` block; colours are display values, as the catalogue's viewer shows them."""

    name: str
    diffuse: tuple[float, float, float] = (0.8, 0.8, 0.8)
    specular: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shininess: float = 10.0
    opacity: float = 1.0
    diffuse_texture: Path | None = None
    """Existing file, or None where the block names none or names one that is missing."""


@dataclass(frozen=True, slots=True)
class ObjGroup:
    """The triangles of one material; indices are into the model's arrays, -1 means absent."""

    material: MtlMaterial
    positions: IntArray
    """(T, 3)."""
    texcoords: IntArray
    """(T, 3)."""
    normals: IntArray
    """(T, 3)."""


@dataclass(frozen=True, slots=True)
class ObjModel:
    """A model in its file's own units and axes."""

    positions: FloatArray
    """(V, 3)."""
    texcoords: FloatArray
    """(N, 2), V upwards."""
    normals: FloatArray
    """(M, 3), often empty."""
    groups: tuple[ObjGroup, ...]


@dataclass(slots=True)
class _Reader:
    positions: list[list[float]] = field(default_factory=list)
    texcoords: list[list[float]] = field(default_factory=list)
    normals: list[list[float]] = field(default_factory=list)
    corners: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)
    material: str = ""
    library: str = ""

    def statement(self, line: str) -> None:
        """Takes one line of the file."""
        keyword, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        match keyword:
            case "v":
                self.positions.append([float(x) for x in rest.split()[:3]])
            case "vt":
                self.texcoords.append([float(x) for x in rest.split()[:2]])
            case "vn":
                self.normals.append([float(x) for x in rest.split()[:3]])
            case "f":
                self._face(rest.split())
            case "usemtl":
                self.material = rest
            case "mtllib":
                self.library = rest
            case _:
                pass

    def _face(self, tokens: list[str]) -> None:
        counts = (len(self.positions), len(self.texcoords), len(self.normals))
        polygon = [_corner(token, counts) for token in tokens]
        triangles = self.corners.setdefault(self.material, [])
        for second in range(1, len(polygon) - 1):
            # A fan: the catalogues' n-gons are convex or nearly so.
            triangles += (polygon[0], polygon[second], polygon[second + 1])


def _corner(token: str, counts: tuple[int, int, int]) -> tuple[int, int, int]:
    parts = (*token.split("/"), "", "")[:3]
    resolved = []
    for part, count in zip(parts, counts, strict=True):
        index = int(part) if part else 0
        # 1-based from the front, negative from what has been read so far, 0 stands for absent.
        resolved.append(index - 1 if index > 0 else count + index if index < 0 else -1)
    return (resolved[0], resolved[1], resolved[2])


def read_obj(path: Path) -> ObjModel:
    """Reads a model with its materials.

    Raises:
        ValueError: the file holds no triangle.
    """
    reader = _Reader()
    for line in path.read_text(ENCODING).splitlines():
        reader.statement(line)
    library = path.parent / reader.library
    materials = read_mtl(library) if reader.library and library.is_file() else {}
    groups = []
    for name, corners in reader.corners.items():
        if not corners:
            continue
        indices = np.array(corners, np.int64).reshape(-1, 3, 3)
        groups.append(
            ObjGroup(
                material=materials.get(name, MtlMaterial(name or "default")),
                positions=indices[:, :, 0],
                texcoords=indices[:, :, 1],
                normals=indices[:, :, 2],
            )
        )
    if not groups:
        raise ValueError(f"{path} holds no face")
    return ObjModel(
        positions=np.array(reader.positions, np.float64),
        texcoords=np.array(reader.texcoords, np.float64).reshape(-1, 2),
        normals=np.array(reader.normals, np.float64).reshape(-1, 3),
        groups=tuple(groups),
    )


def read_mtl(path: Path) -> dict[str, MtlMaterial]:
    """Materials of a library by name; a texture that is not there becomes None."""
    blocks: dict[str, dict[str, str]] = {}
    block: dict[str, str] = {}
    for line in path.read_text(ENCODING).splitlines():
        keyword, _, rest = line.strip().partition(" ")
        if keyword == "newmtl":
            block = blocks.setdefault(rest.strip(), {})
        elif rest:
            block[keyword] = rest.strip()
    return {name: _material(name, block, path.parent) for name, block in blocks.items()}


def _material(name: str, block: dict[str, str], folder: Path) -> MtlMaterial:
    texture: Path | None = None
    if "map_Kd" in block:
        # Authors left absolute paths of their own machines; only the bare name can be of use.
        texture = folder / block["map_Kd"].replace("\\", "/").rsplit("/", 1)[-1]
        if not texture.is_file():
            texture = None
    return MtlMaterial(
        name=name,
        diffuse=_triple(block.get("Kd", "0.8 0.8 0.8")),
        specular=_triple(block.get("Ks", "0 0 0")),
        shininess=float(block.get("Ns", "10")),
        opacity=float(block.get("d", "1")),
        diffuse_texture=texture,
    )


def _triple(text: str) -> tuple[float, float, float]:
    red, green, blue = (float(x) for x in text.split()[:3])
    return (red, green, blue)
