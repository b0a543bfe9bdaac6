"""A frame as a Mitsuba scene of meshes, BSDFs and emitters: for the scalar variant.

All geometry of one material is one mesh: fewer shapes, less to build.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import mitsuba as mi
import numpy as np
import numpy.typing as npt

from simcloud.errors import InvalidRequest
from simcloud.geometry import (
    Float64,
    matrix4,
    pose_matrix,
    transform_directions,
    transform_points,
)
from simcloud.scene.translate.lights import rect_triangles
from simcloud.scene.translate.types import Environment, Material, NeutralScene
from simcloud.spec.parameters import CameraView, Vector3
from simcloud_generator.backends.frame_materials import Part
from simcloud_generator.backends.frame_scene import FrameScene
from simcloud_generator.backends.images import ImageStore
from simcloud_generator.backends.mitsuba.bsdf import bsdf_dict
from simcloud_generator.backends.mitsuba.lighting import Lighting, dome_turn
from simcloud_generator.backends.shading import transform_uv

ROULETTE_DEPTH = 3
"""Where dark paths begin to end by chance: a tenth of the time for 0.04 dB at a depth of 4."""


@dataclass(slots=True, eq=False)
class _Batch:
    """All geometry of one material, in world."""

    material: Material
    tint: Vector3 | None
    has_uv: bool
    vertices: list[npt.NDArray[np.float32]] = field(default_factory=list)
    normals: list[npt.NDArray[np.float32]] = field(default_factory=list)
    uvs: list[npt.NDArray[np.float32]] = field(default_factory=list)
    faces: list[npt.NDArray[np.uint32]] = field(default_factory=list)
    size: int = 0

    def add(self, part: Part, local2world: Float64 | None) -> None:
        mesh = part.mesh
        if local2world is None:
            self.vertices.append(mesh.vertices)
            self.normals.append(mesh.normals)
        else:
            scale = np.sqrt((local2world[:3, 0] ** 2).sum())
            self.vertices.append(transform_points(local2world, mesh.vertices).astype(np.float32))
            turned = transform_directions(local2world, mesh.normals) / scale
            self.normals.append(turned.astype(np.float32))
        uv = np.zeros((len(mesh.vertices), 2), dtype=np.float32)
        if mesh.uvs is not None:
            uv = transform_uv(mesh.uvs, part.material.uv_transform).astype(np.float32)
            uv[:, 1] = 1.0 - uv[:, 1]  # Mitsuba's images begin at the top
        self.uvs.append(uv)
        self.faces.append(mesh.faces + np.uint32(self.size))
        self.size += len(mesh.vertices)


def build_scene(
    scene: NeutralScene, frame: FrameScene, lighting: Lighting, images: ImageStore, max_depth: int
) -> Any:
    """The Mitsuba scene of a frame, without sensors."""
    content: dict[str, Any] = {
        "type": "scene",
        "integrator": {"type": "path", "max_depth": max_depth, "rr_depth": ROULETTE_DEPTH},
    }
    batches = _batches(frame)
    for index, batch in enumerate(batches):
        content[f"mesh{index:05d}"] = _mesh(
            np.concatenate(batch.vertices),
            np.concatenate(batch.normals),
            np.concatenate(batch.uvs),
            np.concatenate(batch.faces),
            bsdf=bsdf_dict(batch.material, batch.tint, images, has_uv=batch.has_uv),
            emission=batch.material.emissive,
        )
    content.update(_lights(scene, frame, lighting, images))
    return mi.load_dict(content)


def sensor(camera: CameraView, *, spp: int) -> Any:
    """A Mitsuba sensor for a camera; its film has a box filter.

    With Mitsuba's default, a Gaussian, pictures differ from run to run on several threads.
    """
    half = camera.horizontal_aperture_mm / 2 / camera.focal_length_mm
    # Mitsuba's camera looks along +Z with +X to the left: USD's, turned about Y.
    to_world = matrix4(camera.cam2world) @ np.diag([-1.0, 1.0, -1.0, 1.0])
    return mi.load_dict(
        {
            **_lens(camera),
            "fov": float(np.degrees(2 * np.arctan(half))),
            "fov_axis": "x",
            "near_clip": camera.near_m,
            "far_clip": camera.far_m,
            "to_world": mi.ScalarTransform4f(to_world.tolist()),
            "sampler": {"type": _sampler(spp), "sample_count": spp},
            "film": {
                "type": "hdrfilm",
                "width": camera.width,
                "height": camera.height,
                "pixel_format": "rgb",
                "component_format": "float32",
                "rfilter": {"type": "box"},
            },
        }
    )


def _lens(camera: CameraView) -> dict[str, Any]:
    """A pinhole, or a thin lens where the view has an aperture."""
    offsets = (camera.horizontal_aperture_offset_mm, camera.vertical_aperture_offset_mm)
    if camera.f_stop is None or camera.focus_distance_m is None:
        pixels_per_mm = camera.width / camera.horizontal_aperture_mm
        return {
            "type": "perspective",
            "principal_point_offset_x": offsets[0] * pixels_per_mm / camera.width,
            "principal_point_offset_y": -offsets[1] * pixels_per_mm / camera.height,
        }
    if any(offsets):
        raise InvalidRequest(
            f"cameras[{camera.name}]", "Mitsuba's thin lens takes no aperture offsets"
        )
    return {
        "type": "thinlens",
        "aperture_radius": camera.focal_length_mm * 1e-3 / (2.0 * camera.f_stop),
        "focus_distance": camera.focus_distance_m,
    }


def _sampler(spp: int) -> str:
    """Samples on a jittered grid, 0.1 dB less noise for nothing, where their number allows one.

    Mitsuba rounds the number up where the nearest grid is larger.
    """
    return "multijitter" if spp > 1 and spp % math.isqrt(spp) == 0 else "independent"


def _batches(frame: FrameScene) -> list[_Batch]:
    found: dict[tuple[str, Vector3 | None, bool], _Batch] = {}
    for group in frame.groups:
        for part in group.parts:
            key = (part.material.path, part.tint_rgb, part.mesh.uvs is not None)
            if key not in found:
                found[key] = _Batch(material=part.material, tint=part.tint_rgb, has_uv=key[2])
            found[key].add(part, group.local2world)
    return list(found.values())


def _mesh(
    vertices: npt.NDArray[np.float32],
    normals: npt.NDArray[np.float32] | None,
    uvs: npt.NDArray[np.float32] | None,
    faces: npt.NDArray[np.uint32],
    *,
    bsdf: dict[str, Any],
    emission: Vector3,
) -> Any:
    properties = mi.Properties()
    properties["mesh_bsdf"] = mi.load_dict(bsdf)
    if any(emission):
        radiance = {"type": "rgb", "value": [float(value) for value in emission]}
        properties["mesh_emitter"] = mi.load_dict({"type": "area", "radiance": radiance})
    mesh = mi.Mesh(
        "mesh",
        len(vertices),
        len(faces),
        has_vertex_normals=normals is not None,
        has_vertex_texcoords=uvs is not None,
        props=properties,
    )
    parameters = mi.traverse(mesh)
    parameters["vertex_positions"] = np.ascontiguousarray(vertices, np.float32).ravel()
    if normals is not None:
        parameters["vertex_normals"] = np.ascontiguousarray(normals, np.float32).ravel()
    if uvs is not None:
        parameters["vertex_texcoords"] = np.ascontiguousarray(uvs, np.float32).ravel()
    parameters["faces"] = np.ascontiguousarray(faces, np.uint32).ravel()
    parameters.update()
    return mesh


def _lights(
    scene: NeutralScene, frame: FrameScene, lighting: Lighting, images: ImageStore
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for index, light in enumerate((*scene.mesh_lights, *frame.mesh_lights)):
        result[f"light{index:05d}"] = _light_mesh(light.vertices, light.faces, light.radiance)
    for index, rect in enumerate(lighting.rects):
        shape = rect_triangles(rect.width_m, rect.height_m)
        placed = transform_points(
            pose_matrix(rect.position_m, rect.orientation_wxyz), shape.vertices
        )
        result[f"rect{index:05d}"] = _light_mesh(
            placed.astype(np.float32), shape.faces, rect.radiance_rgb
        )
    for index, distant in enumerate((*scene.distant_lights, *frame.distant_lights)):
        result[f"distant{index:05d}"] = {
            "type": "directional",
            "direction": list(distant.direction),
            "irradiance": {"type": "rgb", "value": list(distant.irradiance)},
        }
    environment = _environment(scene, lighting, images)
    if environment is not None:
        result["environment"] = environment
    return result


def _light_mesh(
    vertices: npt.NDArray[np.float32], faces: npt.NDArray[np.uint32], radiance: Vector3
) -> Any:
    bsdf = {"type": "diffuse", "reflectance": {"type": "rgb", "value": [0.0, 0.0, 0.0]}}
    lit = tuple(max(value, 1e-12) for value in radiance)
    return _mesh(vertices, None, None, faces, bsdf=bsdf, emission=(lit[0], lit[1], lit[2]))


def _environment(
    scene: NeutralScene, lighting: Lighting, images: ImageStore
) -> dict[str, Any] | None:
    if lighting.dome is not None and lighting.dome_path is not None:
        factor = lighting.dome.intensity
        image = images.environment(lighting.dome_path)
        return _envmap(image, (factor,) * 3, dome_turn(lighting.dome))
    if not scene.environments:
        return None
    own: Environment = scene.environments[0]
    image = (
        images.environment(own.texture)
        if own.texture is not None
        else np.ones((2, 4, 3), dtype=np.float32)
    )
    return _envmap(image, own.color, matrix4(own.local2world))


def _envmap(
    image: npt.NDArray[np.float32], factor: tuple[float, ...], to_world: Float64
) -> dict[str, Any]:
    scaled = image * np.asarray(factor, dtype=np.float32)
    return {
        "type": "envmap",
        "bitmap": mi.Bitmap(np.ascontiguousarray(scaled, dtype=np.float32)),
        "to_world": mi.ScalarTransform4f(to_world.tolist()),
    }
