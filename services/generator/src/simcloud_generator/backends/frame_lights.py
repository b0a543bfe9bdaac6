"""A frame's own lights of shapes other than rectangles, as the stage's lights are kept."""

from __future__ import annotations

import numpy as np

from simcloud.geometry import pose_matrix, transform_points
from simcloud.scene.translate import primitives
from simcloud.scene.translate.types import DistantLight, MeshLight
from simcloud.spec import parameters as frame_parameters
from simcloud.spec.parameters import DiskLight, FrameParameters, SphereLight

_UPRIGHT = (1.0, 0.0, 0.0, 0.0)


def frame_mesh_lights(parameters: FrameParameters) -> tuple[MeshLight, ...]:
    """Spheres and disks of a frame as triangles in the world frame."""
    found = []
    for light in parameters.lights:
        match light:
            case SphereLight():
                shape, orientation = primitives.sphere(light.radius_m), _UPRIGHT
            case DiskLight():
                shape = primitives.disk(light.radius_m, 0.0, up=False)
                orientation = light.orientation_wxyz
            case _:
                continue
        pose = pose_matrix(light.position_m, orientation)
        found.append(
            MeshLight(
                path=light.name,
                vertices=transform_points(pose, shape.vertices).astype(np.float32),
                faces=shape.faces,
                radiance=light.radiance_rgb,
            )
        )
    return tuple(found)


def frame_distant_lights(parameters: FrameParameters) -> tuple[DistantLight, ...]:
    """Parallel lights of a frame."""
    return tuple(
        DistantLight(path=light.name, direction=light.direction, irradiance=light.irradiance_rgb)
        for light in parameters.lights
        if isinstance(light, frame_parameters.DistantLight)
    )
