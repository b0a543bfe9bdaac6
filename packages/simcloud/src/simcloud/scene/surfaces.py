"""Triangles of a prim of the stage, for what is scattered on it."""

from __future__ import annotations

from pathlib import Path

from simcloud.errors import InvalidRequest
from simcloud.spec.surface import Triangle


def read_triangles(root: Path, prim: str) -> tuple[Triangle, ...]:
    """Triangles of a prim and what is below it: world, metres, counter-clockwise from outside.

    Args:
        root: the stage's root layer.
        prim: absolute path.

    Raises:
        InvalidRequest: the stage can't be read, or the prim has no geometry.
    """
    from simcloud.scene.translate.usd import read_scene  # it imports the catalog, as this does

    meshes = [
        mesh
        for mesh in read_scene(root).static
        if mesh.path == prim or mesh.path.startswith(f"{prim}/")
    ]
    if not meshes:
        raise InvalidRequest("prim", f"the stage has no geometry at or below {prim}")
    found: list[Triangle] = []
    for mesh in meshes:
        corners = mesh.vertices[mesh.faces].tolist()
        found += [(_point(a), _point(b), _point(c)) for a, b, c in corners]
    return tuple(found)


def _point(values: list[float]) -> tuple[float, float, float]:
    return values[0], values[1], values[2]
