"""UsdLux lights to neutral ones. Area lights become triangles: one kind of light for renderers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from simcloud.errors import InvalidRequest
from simcloud.geometry import Float64, as_matrix4, transform_directions, transform_points
from simcloud.scene.stage import value
from simcloud.scene.translate import primitives
from simcloud.scene.translate.normals import face_normals
from simcloud.scene.translate.primitives import Triangles
from simcloud.scene.translate.reading import Reading
from simcloud.scene.translate.textures import texture_path
from simcloud.scene.translate.types import DistantLight, Environment, MeshLight
from simcloud.spec.parameters import Vector3

AREA_LIGHTS = ("RectLight", "SphereLight", "DiskLight", "CylinderLight")
DOME_LIGHTS = ("DomeLight", "DomeLight_1")
MESH_LIGHT_API = "MeshLightAPI"

Y_POLE_TO_Z = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=np.float64)


def area_light(prim: Any, local2world: Float64, reading: Reading) -> MeshLight:
    """A rect, sphere, disk or cylinder light as triangles in the world frame.

    Raises:
        InvalidRequest: a size is not above 0.
    """

    def get(name: str) -> float:
        size = float(_input(prim, name))
        if not math.isfinite(size) or size <= 0:
            raise InvalidRequest(
                "scene", f"{prim.GetPath()}.inputs:{name} must be above 0, found {size}"
            )
        return size

    match str(prim.GetTypeName()):
        case "RectLight":
            shape = rect_triangles(get("width"), get("height"))
            if _input(prim, "texture:file"):
                reading.warn(prim, "textured rect light")
        case "DiskLight":
            shape = primitives.disk(get("radius"), 0.0, up=False)
        case "SphereLight":
            shape = primitives.sphere(get("radius"))
        case _:  # the cylinder's axis is X, and its ends do not emit
            radius, half = get("radius"), get("length") / 2
            wall = primitives.revolve([(radius, -half), (radius, half)], [(1, 0), (1, 0)])
            shape = primitives.along("X", wall)
    _name_what_is_not_drawn(prim, reading)
    vertices = transform_points(local2world, shape.vertices).astype(np.float32)
    faces = shape.faces
    if _mirrors(local2world):
        faces = faces[:, ::-1].copy()
    area = np.sqrt((face_normals(vertices, faces) ** 2).sum(axis=1))
    if not area.any():
        reading.warn(prim, "a light without area is left out")
    radiance = _emission(prim, reading)
    if _input(prim, "normalize"):
        radiance = _per_area(radiance, float(area.sum()) / 2)
    return MeshLight(
        path=str(prim.GetPath()), vertices=vertices, faces=faces[area > 0], radiance=radiance
    )


def mesh_light_radiance(prim: Any, area_m2: float, reading: Reading) -> Vector3 | None:
    """What a gprim with ``MeshLightAPI`` emits; None when it has none.

    Its geometry stays what it is: in depth and labels like any other.

    Args:
        prim: the gprim.
        area_m2: of its surface in the world, for ``normalize``.
        reading: told what is drawn otherwise.
    """
    if MESH_LIGHT_API not in prim.GetAppliedSchemas():
        return None
    _name_what_is_not_drawn(prim, reading)
    radiance = _emission(prim, reading)
    return _per_area(radiance, area_m2) if _input(prim, "normalize") else radiance


def _name_what_is_not_drawn(prim: Any, reading: Reading) -> None:
    for name in ("shaping:ies:file", "shaping:focus"):
        if _input(prim, name):
            reading.warn(prim, f"light shaping inputs:{name}")
    cone = prim.GetAttribute("inputs:shaping:cone:angle")
    if cone and cone.HasAuthoredValue() and float(value(cone)) < 90.0:
        reading.warn(prim, "light shaping inputs:shaping:cone:angle")
    for name in ("diffuse", "specular"):
        factor = _input(prim, name)
        if factor is not None and float(factor) != 1.0:
            reading.warn(prim, f"light input {name} other than 1")
    for name in ("collection:lightLink:includes", "collection:lightLink:excludes", "light:filters"):
        relationship = prim.GetRelationship(name)
        if relationship and relationship.HasAuthoredTargets():
            reading.warn(prim, f"light linking and filters ({name})")


def rect_triangles(width: float, height: float) -> Triangles:
    """A rectangle that emits along -Z, as UsdLux has it."""
    shape = primitives.plane(width, height, "Z")
    return Triangles(
        vertices=shape.vertices,
        normals=-shape.normals,
        uvs=shape.uvs,
        faces=shape.faces[:, ::-1].copy(),
    )


def distant_light(prim: Any, local2world: Float64, reading: Reading) -> DistantLight:
    """A distant light; its angular size only counts for how much it emits."""
    direction = transform_directions(local2world, np.array([[0.0, 0.0, -1.0]]))[0]
    direction = direction / np.sqrt((direction**2).sum())
    _name_what_is_not_drawn(prim, reading)
    emission = _emission(prim, reading)
    angle = math.radians(float(_input(prim, "angle")))
    if not _input(prim, "normalize") and angle > 0:
        emission = _scaled(emission, math.pi * math.sin(angle / 2) ** 2)
    return DistantLight(
        path=str(prim.GetPath()),
        direction=(float(direction[0]), float(direction[1]), float(direction[2])),
        irradiance=emission,
    )


def environment(prim: Any, local2world: Float64, reading: Reading) -> Environment:
    """A dome light; a texture that is missing is noted as a problem."""
    file = prim.GetAttribute("inputs:texture:file")
    texture = texture_path(prim, file, reading, environment=True) if file else None
    layout = _input(prim, "texture:format")
    if texture is not None and str(layout) not in {"automatic", "latlong"}:
        reading.warn(prim, f"dome texture format {layout}")
    _name_what_is_not_drawn(prim, reading)
    rotation = np.eye(4)
    columns = local2world[:3, :3]
    rotation[:3, :3] = columns / np.sqrt((columns**2).sum(axis=0))
    if _pole_is_z(prim):
        rotation = rotation @ Y_POLE_TO_Z
    return Environment(
        path=str(prim.GetPath()),
        texture=texture,
        color=_emission(prim, reading),
        local2world=as_matrix4(rotation),
    )


def _pole_is_z(prim: Any) -> bool:
    """DomeLight's pole is +Y of its frame; DomeLight_1 names it, by default the stage's up axis."""
    from pxr import UsdGeom

    pole = value(prim.GetAttribute("poleAxis"))
    if pole is None:
        return False
    axis = str(pole)
    return axis == "Z" or (axis == "scene" and UsdGeom.GetStageUpAxis(prim.GetStage()) == "Z")


def _input(prim: Any, name: str) -> Any:
    return value(prim.GetAttribute(f"inputs:{name}"))


def _mirrors(matrix: Float64) -> bool:
    return float(np.cross(matrix[:3, 0], matrix[:3, 1]) @ matrix[:3, 2]) < 0


def _per_area(color: Vector3, area: float) -> Vector3:
    return _scaled(color, 1.0 / area if area > 0 else 0.0)


def _scaled(color: Vector3, factor: float) -> Vector3:
    return (color[0] * factor, color[1] * factor, color[2] * factor)


def _emission(prim: Any, reading: Reading) -> Vector3:
    """``color * intensity * 2^exposure``, with the colour temperature where it is enabled."""
    color = np.asarray(_input(prim, "color"), dtype=np.float64)
    # exp2 gives inf where ** would raise
    factor = float(_input(prim, "intensity")) * float(np.exp2(float(_input(prim, "exposure"))))
    if _input(prim, "enableColorTemperature"):
        from pxr import UsdLux

        kelvin = UsdLux.BlackbodyTemperatureAsRgb(float(_input(prim, "colorTemperature")))
        color = color * np.asarray(kelvin, dtype=np.float64)
    values = color * factor
    if not np.isfinite(values).all():
        reading.warn(prim, "emission that is not finite counts as none")
        values = np.zeros(3)
    return (float(values[0]), float(values[1]), float(values[2]))
