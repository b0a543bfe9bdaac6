"""UsdLux lights to neutral ones. Area lights become triangles: one kind of light for renderers."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from simcloud.errors import InvalidRequest
from simcloud.geometry import Float64, as_matrix4, transform_directions, transform_points
from simcloud.scene.translate import primitives
from simcloud.scene.translate.normals import face_normals
from simcloud.scene.translate.primitives import Triangles
from simcloud.scene.translate.types import DistantLight, Environment, MeshLight
from simcloud.spec.parameters import Vector3

Warn = Callable[[Any, str], None]

AREA_LIGHTS = ("RectLight", "SphereLight", "DiskLight", "CylinderLight")
DOME_LIGHTS = ("DomeLight", "DomeLight_1")


def area_light(prim: Any, local2world: Float64, warn: Warn) -> MeshLight:
    """A rect, sphere, disk or cylinder light as triangles in the world frame."""

    def get(name: str) -> float:
        return float(prim.GetAttribute(f"inputs:{name}").Get())

    match str(prim.GetTypeName()):
        case "RectLight":
            shape = rect_triangles(get("width"), get("height"))
            if prim.GetAttribute("inputs:texture:file").Get():
                warn(prim, "textured rect light")
        case "DiskLight":
            shape = primitives.disk(get("radius"), 0.0, up=False)
        case "SphereLight":
            shape = primitives.sphere(get("radius"))
        case _:  # the cylinder's axis is X, and its ends do not emit
            radius, half = get("radius"), get("length") / 2
            wall = primitives.revolve([(radius, -half), (radius, half)], [(1, 0), (1, 0)])
            shape = primitives.along("X", wall)
    _name_shaping(prim, warn)
    vertices = transform_points(local2world, shape.vertices).astype(np.float32)
    faces = shape.faces
    if _mirrors(local2world):
        faces = faces[:, ::-1].copy()
    area = np.sqrt((face_normals(vertices, faces) ** 2).sum(axis=1))
    faces = faces[area > 0]
    radiance = _emission(prim, warn)
    if prim.GetAttribute("inputs:normalize").Get():
        total = float(area.sum()) / 2
        radiance = _scaled(radiance, 1.0 / total if total > 0 else 0.0)
    return MeshLight(path=str(prim.GetPath()), vertices=vertices, faces=faces, radiance=radiance)


def _name_shaping(prim: Any, warn: Warn) -> None:
    for name in ("inputs:shaping:ies:file", "inputs:shaping:focus"):
        if prim.GetAttribute(name) and prim.GetAttribute(name).Get():
            warn(prim, f"light shaping {name}")
    cone = prim.GetAttribute("inputs:shaping:cone:angle")
    if cone and cone.HasAuthoredValue() and float(cone.Get()) < 90.0:
        warn(prim, "light shaping inputs:shaping:cone:angle")


def rect_triangles(width: float, height: float) -> Triangles:
    """A rectangle that emits along -Z, as UsdLux has it."""
    shape = primitives.plane(width, height, "Z")
    return Triangles(
        vertices=shape.vertices,
        normals=-shape.normals,
        uvs=shape.uvs,
        faces=shape.faces[:, ::-1].copy(),
    )


def distant_light(prim: Any, local2world: Float64, warn: Warn) -> DistantLight:
    """A distant light; its angular size only counts for how much it emits."""
    direction = transform_directions(local2world, np.array([0.0, 0.0, -1.0]))
    direction = direction / np.sqrt((direction**2).sum())
    emission = _emission(prim, warn)
    angle = math.radians(float(prim.GetAttribute("inputs:angle").Get()))
    if not prim.GetAttribute("inputs:normalize").Get() and angle > 0:
        emission = _scaled(emission, math.pi * math.sin(angle / 2) ** 2)
    return DistantLight(
        path=str(prim.GetPath()),
        direction=(float(direction[0]), float(direction[1]), float(direction[2])),
        irradiance=emission,
    )


def environment(prim: Any, local2world: Float64, warn: Warn) -> Environment:
    """A dome light.

    Raises:
        InvalidRequest: its texture is missing.
    """
    asset = prim.GetAttribute("inputs:texture:file").Get()
    texture = None
    if asset is not None and asset.path:
        texture = str(asset.resolvedPath)
        if not texture or not Path(texture).is_file():
            raise InvalidRequest(
                "scene", f"{prim.GetPath()} names the texture {asset.path}, which is not there"
            )
        layout = str(prim.GetAttribute("inputs:texture:format").Get())
        if layout not in {"automatic", "latlong"}:
            warn(prim, f"dome texture format {layout}")
    rotation = np.eye(4)
    columns = local2world[:3, :3]
    rotation[:3, :3] = columns / np.sqrt((columns**2).sum(axis=0))
    return Environment(
        path=str(prim.GetPath()),
        texture=texture,
        color=_emission(prim, warn),
        local2world=as_matrix4(rotation),
    )


def _mirrors(matrix: Float64) -> bool:
    return float(np.cross(matrix[:3, 0], matrix[:3, 1]) @ matrix[:3, 2]) < 0


def _scaled(color: Vector3, factor: float) -> Vector3:
    return (color[0] * factor, color[1] * factor, color[2] * factor)


def _emission(prim: Any, warn: Warn) -> Vector3:
    """``color * intensity * 2^exposure``, with the colour temperature where it is enabled."""

    def get(name: str) -> Any:
        return prim.GetAttribute(f"inputs:{name}").Get()

    color = np.asarray(get("color"), dtype=np.float64)
    factor = float(get("intensity")) * 2.0 ** float(get("exposure"))
    if get("enableColorTemperature"):
        from pxr import UsdLux

        kelvin = UsdLux.BlackbodyTemperatureAsRgb(float(get("colorTemperature")))
        color = color * np.asarray(kelvin, dtype=np.float64)
    values = color * factor
    if not np.isfinite(values).all():
        warn(prim, "emission that is not finite counts as none")
        values = np.zeros(3)
    return (float(values[0]), float(values[1]), float(values[2]))
