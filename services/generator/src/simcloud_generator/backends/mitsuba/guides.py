"""The denoiser's guides, first-hit albedo and normal, from Embree's rays.

For the scalar variant: Mitsuba's own ``aov`` integrator takes seconds a frame there.
"""

from __future__ import annotations

import math

import numpy as np

from simcloud.geometry import transform_directions
from simcloud.spec.parameters import CameraView
from simcloud_generator.backends.frame_scene import FrameScene
from simcloud_generator.backends.images import Float32Array, ImageStore
from simcloud_generator.backends.shading import albedo_at, corner_mix
from simcloud_generator.backends.tracing import Tracer, ViewTrace

MAX_SIDE = 2
"""A full trace costs as much as eight of LLVM's samples; four rays suffice to smooth edges."""


def traced_guides(
    tracer: Tracer, images: ImageStore, frame: FrameScene, camera: CameraView, samples: int
) -> tuple[Float32Array, Float32Array]:
    """Albedo and shading normal, averaged over a regular grid of rays within each pixel.

    Args:
        tracer: traces the rays.
        images: for textures.
        frame: what stands where.
        camera: where from.
        samples: rays per pixel; the next smaller square is used, ``MAX_SIDE`` squared at most.

    Returns:
        float32 (H, W, 3) albedo in 0..1 and (H, W, 3) world normals.
    """
    side = max(1, min(math.isqrt(samples), MAX_SIDE))
    shape = (camera.height * camera.width, 3)
    albedo, normal = np.zeros(shape), np.zeros(shape)
    for row in range(side):
        for column in range(side):
            trace = tracer.trace(frame, camera, ((column + 0.5) / side, (row + 0.5) / side))
            _add(images, frame, trace, albedo, normal)
    picture = (camera.height, camera.width, 3)
    scale = 1.0 / side**2
    return (
        (albedo * scale).reshape(picture).astype(np.float32),
        (normal * scale).reshape(picture).astype(np.float32),
    )


def _add(
    images: ImageStore,
    frame: FrameScene,
    trace: ViewTrace,
    albedo: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    normal: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> None:
    hits = trace.hits
    for index, group in enumerate(frame.groups):
        in_group = np.flatnonzero(hits.group == index)
        for number in np.unique(hits.part[in_group]):
            part = group.parts[number]
            at = in_group[hits.part[in_group] == number]
            primitive, weights = hits.primitive[at], (hits.u[at], hits.v[at])
            albedo[at] += albedo_at(images, part, primitive, weights)
            shading = corner_mix(part.mesh.normals, part.mesh, primitive, weights)
            if group.local2world is not None:
                shading = transform_directions(group.local2world, shading)
            length = np.sqrt((shading**2).sum(axis=1, keepdims=True))
            shading /= np.where(length > 0, length, 1.0)
            away = (shading * trace.directions.reshape(-1, 3)[at]).sum(axis=1) > 0
            normal[at] += np.where(away[:, None], -shading, shading)
