"""The neutral scene: what a stage contains, without USD and without any renderer.

World frame: right-handed, Z up, metres, whatever the stage uses. Arrays are read-only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simcloud.spec.parameters import Matrix4, Vector3
from simcloud.spec.scene_camera import SceneCamera

Float32Array = npt.NDArray[np.float32]
UInt32Array = npt.NDArray[np.uint32]

LOOK_PREFIX = "displayColor:"
"""Key prefix of materials that were made from a prim's display colour."""


@dataclass(frozen=True, slots=True)
class Texture:
    """An image file and how its values become a material's."""

    path: str
    """Absolute path of the file."""
    srgb: bool
    """Whether the values are sRGB-encoded colours rather than raw data."""
    channel: int | None = None
    """The one channel used (0 red to 3 alpha); None uses red, green and blue."""
    scale: tuple[float, ...] = (1.0, 1.0, 1.0)
    """Factor on the linear value, for each of the channels used."""
    bias: tuple[float, ...] = (0.0, 0.0, 0.0)
    wrap: str = "repeat"
    """``repeat``, ``mirror`` or ``clamp``."""


@dataclass(frozen=True, slots=True)
class UvTransform:
    """2D transform of texture coordinates: scale, then rotate, then translate (USD's order)."""

    scale: tuple[float, float] = (1.0, 1.0)
    rotation_deg: float = 0.0
    translation: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Material:
    """A metallic-roughness surface, as UsdPreviewSurface means it."""

    path: str
    base_color: Vector3 = (0.18, 0.18, 0.18)
    """Linear RGB; UsdPreviewSurface's default."""
    base_color_texture: Texture | None = None
    roughness: float = 0.5
    roughness_texture: Texture | None = None
    metallic: float = 0.0
    metallic_texture: Texture | None = None
    specular: float = 0.5
    """Dielectric reflectivity as the principled model counts it: 0.5 is an index of 1.5."""
    opacity: float = 1.0
    opacity_texture: Texture | None = None
    opacity_threshold: float = 0.0
    """Above 0: texels below it are holes and the others opaque. 0: blended."""
    normal_texture: Texture | None = None
    emissive: Vector3 = (0.0, 0.0, 0.0)
    """Radiance, linear RGB."""
    emissive_texture: Texture | None = None
    uv_transform: UvTransform | None = None
    uv_primvar: str = ""
    """Primvar that texture coordinates are read from; empty: ``st`` or the first known one."""
    base: Material | None = None
    """The scene's material that a frame made this one of; None: it is one of the scene's."""


@dataclass(frozen=True, slots=True, eq=False)
class SceneMesh:
    """Triangles of one material of one prim."""

    path: str
    """Prim that they come from; for a GeomSubset the subset's path."""
    vertices: Float32Array
    """(V, 3) metres; world frame for static meshes, the asset's frame in the library."""
    normals: Float32Array
    """(V, 3) unit shading normals, same frame."""
    uvs: Float32Array | None
    """(V, 2) texture coordinates as USD means them (v up); None when the prim has none."""
    faces: UInt32Array
    """(F, 3) vertex indices, counter-clockwise seen from outside."""
    material: str
    """Key of :attr:`NeutralScene.materials`."""
    owner: str | None
    """Path of the nearest labelled prim above, or the prim itself; None without a label."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPrim:
    """A prim of the scene that carries a semantic label, and its own frame."""

    path: str
    label: str
    local2world: Matrix4
    """Its frame in metres and Z up, to world."""


@dataclass(frozen=True, slots=True, eq=False)
class Asset:
    """A placeable class prim below ``/Library``, in its own frame."""

    name: str
    label: str | None
    meshes: tuple[SceneMesh, ...]
    minimum: Vector3
    maximum: Vector3


@dataclass(frozen=True, slots=True, eq=False)
class MeshLight:
    """An area light as triangles that emit on the side their normals point to."""

    path: str
    vertices: Float32Array
    faces: UInt32Array
    radiance: Vector3


@dataclass(frozen=True, slots=True)
class DistantLight:
    """Parallel light from infinitely far away."""

    path: str
    direction: Vector3
    """Unit, world, the way the light travels."""
    irradiance: Vector3


@dataclass(frozen=True, slots=True)
class Environment:
    """Light from everywhere: a constant, or a latitude-longitude image."""

    path: str
    texture: str | None
    """Absolute path of the image."""
    color: Vector3
    """Factor on the image, or the constant radiance."""
    local2world: Matrix4
    """Rotation; the image's pole is the light's +Y."""


@dataclass(frozen=True, slots=True, eq=False)
class NeutralScene:
    """Everything a renderer needs to know of a stage."""

    root: str
    """Absolute path of the stage's root layer."""
    static: tuple[SceneMesh, ...]
    """Geometry that every frame shows, in the world frame."""
    labelled: tuple[LabelledPrim, ...]
    """The labelled prims that own static geometry, ordered by path."""
    assets: dict[str, Asset]
    materials: dict[str, Material]
    mesh_lights: tuple[MeshLight, ...]
    distant_lights: tuple[DistantLight, ...]
    environments: tuple[Environment, ...]
    """Dome lights of the stage itself; a frame's own dome replaces them."""
    cameras: tuple[SceneCamera, ...]
    classes: tuple[str, ...]
    """All labels of the stage and its library, in alphabetic order."""
    unsupported: tuple[str, ...]
    """What was not understood, each as ``<prim path>: <what>``, once, ordered."""


def static_bounds(scene: NeutralScene) -> tuple[Float32Array, Float32Array] | None:
    """Corners of the box around what every frame shows, (3,) each; None where that is nothing."""
    if not scene.static:
        return None
    lows, highs = [], []
    step = 4096  # meshes may be many and small: a few calls for all of them
    for begin in range(0, len(scene.static), step):
        many = np.concatenate([mesh.vertices for mesh in scene.static[begin : begin + step]])
        lows.append(many.min(axis=0))
        highs.append(many.max(axis=0))
    return np.min(lows, axis=0), np.max(highs, axis=0)
