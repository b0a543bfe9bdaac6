"""The light that a composite picture's objects stand in: an environment and some small lights.

The environment's diffuse light is nine spherical harmonics (Ramamoorthi and Hanrahan 2001), its
reflections are blurred copies of a small image; area lights count as points at their centres.
Nothing casts a shadow on another object.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from simcloud.geometry import Float64, matrix4, rotation_matrix
from simcloud.scene.translate.types import NeutralScene
from simcloud.spec.parameters import FrameParameters, Vector3
from simcloud_generator.backends.compositing.surface import rotated
from simcloud_generator.backends.compositing.texels import remap
from simcloud_generator.backends.frame_lights import (
    frame_distant_lights,
    frame_mesh_lights,
)
from simcloud_generator.backends.images import Float32Array, ImageStore

Floats = npt.NDArray[np.floating]

ENVIRONMENT_SIZE = (64, 32)
"""Width and height that environments are reduced to: enough for what is not a mirror."""

BLURS_PX = (0.0, 1.0, 2.5, 6.0)
"""Standard deviations of the blurred copies, from roughness 0 to 1."""

_DIFFUSE = (np.pi, 2 * np.pi / 3, np.pi / 4)
"""What a cosine lobe leaves of each band of the harmonics."""


@dataclass(frozen=True, slots=True, eq=False)
class PointLight:
    """A small one-sided light, or a parallel one."""

    position: Float64
    """Its centre; for a parallel light the unit direction to it."""
    facing: Float64
    """Unit normal of the side that shines."""
    power_rgb: Float64
    """Radiance times area; irradiance of a parallel light."""
    parallel: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """An environment prepared for shading."""

    world_to_image: Float64
    """(3, 3) rotation into the image's frame, whose pole is +Y."""
    harmonics: Float32Array
    """(9, 3) irradiance."""
    copies: tuple[Float32Array, ...]
    """(H, W, 3) radiance by blur."""

    def irradiance(self, normals: Float32Array) -> Float32Array:
        """(3, N) at surfaces with unit world normals (3, N)."""
        basis = _basis(*rotated(self.world_to_image, normals))
        total = np.zeros_like(normals)
        for values, coefficient in zip(basis, self.harmonics, strict=True):
            total += values * coefficient[:, None]
        return np.maximum(total, 0.0)

    def radiance(self, directions: Float32Array, roughness: Float32Array) -> Float32Array:
        """(3, N) from unit world directions (3, N), blurred as their roughness (N,) wants."""
        x, y, z = rotated(self.world_to_image, directions)
        height, width = self.copies[0].shape[:2]
        column = np.mod(np.arctan2(x, -z) / np.float32(2 * np.pi), 1.0) * width - 0.5
        row = np.arccos(np.clip(y, -1.0, 1.0)) / np.float32(np.pi) * height - 0.5
        row = np.clip(row, 0, height - 1)
        nearest = np.rint(np.clip(roughness, 0, 1) * (len(self.copies) - 1)).astype(np.int8)
        result = np.zeros_like(directions)
        for index, copy in enumerate(self.copies):
            at = np.flatnonzero(nearest == index)
            if len(at):
                result[:, at] = remap(copy, column[at], row[at], cv2.BORDER_WRAP).T
        return result


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """All light of a frame."""

    surroundings: Surroundings | None
    points: tuple[PointLight, ...]


def frame_light(
    scene: NeutralScene,
    parameters: FrameParameters,
    dome_path: str | None,
    images: ImageStore,
) -> Light:
    """The stage's own lights and those of a frame.

    Args:
        scene: the stage; its environments count where the frame has no dome.
        parameters: of the frame.
        dome_path: file of the frame's dome; None without one.
        images: decodes environments.
    """
    shining = (*scene.mesh_lights, *frame_mesh_lights(parameters))
    points = [_mesh_light(item.vertices, item.faces, item.radiance) for item in shining]
    for rect in parameters.rect_lights:
        facing = -rotation_matrix(rect.orientation_wxyz)[:, 2]
        power = np.asarray(rect.radiance_rgb) * rect.width_m * rect.height_m
        points.append(PointLight(np.asarray(rect.position_m), facing, power))
    for sun in (*scene.distant_lights, *frame_distant_lights(parameters)):
        direction = -np.asarray(sun.direction)
        points.append(PointLight(direction, -direction, np.asarray(sun.irradiance), parallel=True))
    surroundings = None
    if parameters.dome is not None and dome_path is not None:
        angle = np.radians(parameters.dome.rotation_deg)
        turn = np.array(
            [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
        )
        pole_up = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])  # the image's +Y is world +Z
        factor = (parameters.dome.intensity,) * 3
        image = images.environment(dome_path)
        surroundings = _surroundings(image, factor, _product(turn, pole_up))
    elif scene.environments:
        own = scene.environments[0]
        image = (
            images.environment(own.texture)
            if own.texture is not None
            else np.ones((2, 4, 3), dtype=np.float32)
        )
        rotation = matrix4(own.local2world)[:3, :3]
        surroundings = _surroundings(image, own.color, rotation)
    return Light(surroundings=surroundings, points=tuple(points))


def _mesh_light(vertices: Float32Array, faces: object, radiance: Vector3) -> PointLight:
    corners = vertices[np.asarray(faces, dtype=np.int64)].astype(np.float64)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2
    areas = np.sqrt((across**2).sum(axis=1))
    total = max(float(areas.sum()), 1e-12)
    centre = (corners.mean(axis=1) * areas[:, None]).sum(axis=0) / total
    facing = across.sum(axis=0)
    length = max(float(np.sqrt((facing**2).sum())), 1e-12)
    return PointLight(centre, facing / length, np.asarray(radiance) * total)


def _surroundings(
    image: Float32Array, factor: tuple[float, ...], image_to_world: Float64
) -> Surroundings:
    small = np.asarray(
        cv2.resize(image, ENVIRONMENT_SIZE, interpolation=cv2.INTER_AREA), dtype=np.float32
    ) * np.asarray(factor, dtype=np.float32)
    height, width = small.shape[:2]
    theta = (np.arange(height) + 0.5) / height * np.pi
    phi = (np.arange(width) + 0.5) / width * 2 * np.pi
    sine = np.sin(theta)[:, None]
    x, z = sine * np.sin(phi)[None, :], -sine * np.cos(phi)[None, :]
    y = np.broadcast_to(np.cos(theta)[:, None], x.shape)
    solid = np.broadcast_to(sine * (np.pi / height) * (2 * np.pi / width), x.shape)
    bands = (0, 1, 1, 1, 2, 2, 2, 2, 2)
    harmonics = [
        _DIFFUSE[band] * (small * (values * solid)[..., None]).sum(axis=(0, 1))
        for band, values in zip(bands, _basis(x, y, z), strict=True)
    ]
    return Surroundings(
        world_to_image=image_to_world.T,
        harmonics=np.asarray(harmonics, dtype=np.float32),
        copies=tuple(_blurred(small, blur) for blur in BLURS_PX),
    )


def _blurred(small: Float32Array, blur: float) -> Float32Array:
    if blur == 0.0:
        return small
    width = small.shape[1]
    around = np.concatenate([small, small, small], axis=1)
    done = cv2.GaussianBlur(around, (0, 0), blur, borderType=cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(done[:, width : 2 * width], dtype=np.float32)


def _basis(x: Floats, y: Floats, z: Floats) -> list[Floats]:
    """The nine real harmonics of the first three bands."""
    return [
        0.282095 * np.ones_like(x),
        0.488603 * y,
        0.488603 * z,
        0.488603 * x,
        1.092548 * x * y,
        1.092548 * y * z,
        0.315392 * (3 * z * z - 1),
        1.092548 * x * z,
        0.546274 * (x * x - y * y),
    ]


def _product(left: Float64, right: Float64) -> Float64:
    product: Float64 = (left[:, :, None] * right[None, :, :]).sum(axis=1)
    return product
