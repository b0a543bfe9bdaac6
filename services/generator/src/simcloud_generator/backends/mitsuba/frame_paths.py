"""Radiance of a frame by our own path tracer on Dr.Jit: for the variants that compile kernels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import drjit as dr
import numpy as np

from simcloud.geometry import Float64, matrix4, pose_matrix, transform_points
from simcloud.scene.translate.lights import rect_triangles
from simcloud.scene.translate.types import NeutralScene
from simcloud.spec.parameters import CameraView
from simcloud_generator.backends.frame_scene import FrameScene
from simcloud_generator.backends.images import Float32Array, ImageStore
from simcloud_generator.backends.mitsuba.camera import camera_rays
from simcloud_generator.backends.mitsuba.lighting import Lighting, dome_turn
from simcloud_generator.backends.mitsuba.lights import Environments, light_table
from simcloud_generator.backends.mitsuba.materials import scene_features
from simcloud_generator.backends.mitsuba.path import Film, render_guides, render_paths
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings
from simcloud_generator.backends.mitsuba.stage import Stage
from simcloud_generator.backends.mitsuba.tables import TableBuilder
from simcloud_generator.backends.mitsuba.texels import TexelStore

MAX_LANES = 1 << 22
"""Samples traced at once: a picture of 640x480 at 12 a pixel in one piece, and a bound on memory
for larger ones."""


class PathTracer:
    """What frames of one scene share: textures, environments, and which kernels they need.

    Args:
        scene: the stage.
        images: for textures and environments.
        settings: samples and depth.
    """

    def __init__(
        self, *, scene: NeutralScene, images: ImageStore, settings: MitsubaSettings
    ) -> None:
        self._scene = scene
        self._images = images
        self._settings = settings
        self._features = scene_features(scene.materials.values())
        self._texels = TexelStore(limit_bytes=settings.cache_bytes)
        self._environments = Environments(images)

    def frame(self, frame: FrameScene, lighting: Lighting) -> TracedFrame:
        """A frame, ready to be rendered from any camera."""
        self._texels.begin_frame()
        builder = TableBuilder(self._texels, self._images, self._features)
        builder.add_frame(frame)
        for light in (*self._scene.mesh_lights, *frame.mesh_lights):
            builder.add_light(light.vertices, light.faces, light.radiance)
        for rect in lighting.rects:
            shape = rect_triangles(rect.width_m, rect.height_m)
            pose = pose_matrix(rect.position_m, rect.orientation_wxyz)
            placed = transform_points(pose, shape.vertices).astype(np.float32)
            builder.add_light(placed, shape.faces, rect.radiance_rgb)
        tables = builder.build()
        path, radiance, turn = self._environment(lighting)
        stage = Stage(
            tables=tables,
            texels=self._texels.buffer,
            lights=light_table(
                tables,
                (*self._scene.distant_lights, *frame.distant_lights),
                environment=max(radiance) > 0,
            ),
            environment=self._environments.get(path),
            radiance=radiance,
            turn=turn,
            features=self._features,
        )
        return TracedFrame(stage, self._settings)

    def _environment(
        self, lighting: Lighting
    ) -> tuple[str | None, tuple[float, float, float], Float64]:
        """Image, factor on it, and its axes in world."""
        if lighting.dome is not None and lighting.dome_path is not None:
            factor = lighting.dome.intensity
            turn = dome_turn(lighting.dome)[:3, :3]
            return lighting.dome_path, (factor, factor, factor), turn
        if self._scene.environments:
            own = self._scene.environments[0]
            return own.texture, own.color, matrix4(own.local2world)[:3, :3]
        return None, (0.0, 0.0, 0.0), np.eye(3)


class TracedFrame:
    """One frame's radiance and guides."""

    def __init__(self, stage: Stage, settings: MitsubaSettings) -> None:
        self._stage = stage
        self._settings = settings

    def radiance(self, camera: CameraView, seed: int) -> Float32Array:
        """Linear radiance (H, W, 3)."""
        rays = camera_rays(camera)
        result = np.empty((camera.height, camera.width, 3), dtype=np.float32)
        for rows, film in _bands(camera, seed, self._settings.spp):
            found = render_paths(self._stage, rays, film, self._settings.max_depth)
            result[rows] = _means([found], film)
        return result

    def guides(self, camera: CameraView, seed: int) -> tuple[Float32Array, Float32Array]:
        """Albedo in 0..1 and shading normals in world, (H, W, 3) each."""
        rays = camera_rays(camera)
        result = np.empty((camera.height, camera.width, 6), dtype=np.float32)
        for rows, film in _bands(camera, seed, self._settings.aux_spp):
            result[rows] = _means(list(render_guides(self._stage, rays, film)), film)
        return result[..., :3], result[..., 3:]


def _bands(camera: CameraView, seed: int, spp: int) -> Iterator[tuple[slice, Film]]:
    step = max(1, MAX_LANES // (camera.width * spp))
    for top in range(0, camera.height, step):
        bottom = min(top + step, camera.height)
        yield slice(top, bottom), Film(camera.width, top, bottom - top, spp, seed)


def _means(samples: list[Any], film: Film) -> Float32Array:
    """Means over each pixel's samples, (rows, W, channels)."""
    # at once: asking for one channel after the other would trace the paths again for each
    dr.eval(samples)
    planes = [
        np.array(dr.block_sum(channel, film.spp)).reshape(film.rows, film.width)
        for sample in samples
        for channel in sample
    ]
    return np.stack(planes, axis=-1) * np.float32(1.0 / film.spp)
