"""Radiance of a frame by Mitsuba's own integrator: for the variant that compiles nothing."""

from __future__ import annotations

from typing import Any

import mitsuba as mi
import numpy as np

from simcloud.scene.translate.types import NeutralScene
from simcloud.spec.parameters import CameraView
from simcloud_generator.backends.frame_scene import FrameScene
from simcloud_generator.backends.images import Float32Array, ImageStore
from simcloud_generator.backends.mitsuba.guides import traced_guides
from simcloud_generator.backends.mitsuba.lighting import Lighting
from simcloud_generator.backends.mitsuba.scene import build_scene, sensor
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings
from simcloud_generator.backends.tracing import Tracer


class ScalarSource:
    """Builds a Mitsuba scene for each frame.

    Args:
        scene: the stage.
        images: for textures and environments.
        tracer: traces the denoiser's guides; Mitsuba's own ``aov`` integrator takes seconds.
        settings: samples and depth.
    """

    def __init__(
        self,
        *,
        scene: NeutralScene,
        images: ImageStore,
        tracer: Tracer,
        settings: MitsubaSettings,
    ) -> None:
        self._scene = scene
        self._images = images
        self._tracer = tracer
        self._settings = settings

    def frame(self, frame: FrameScene, lighting: Lighting) -> ScalarFrame:
        """A frame, ready to be rendered from any camera."""
        built = build_scene(self._scene, frame, lighting, self._images, self._settings.max_depth)
        return ScalarFrame(built, frame, self._tracer, self._images, self._settings)


class ScalarFrame:
    """One frame's radiance and guides."""

    def __init__(
        self,
        built: Any,
        frame: FrameScene,
        tracer: Tracer,
        images: ImageStore,
        settings: MitsubaSettings,
    ) -> None:
        self._built = built
        self._frame = frame
        self._tracer = tracer
        self._images = images
        self._settings = settings

    def radiance(self, camera: CameraView, seed: int) -> Float32Array:
        """Linear radiance (H, W, 3)."""
        spp = self._settings.spp
        view = sensor(camera, spp=spp)
        # the stubs ask for a UInt32 of the variant; every variant takes an int
        render: Any = mi.render
        tensor = render(self._built, sensor=view, spp=spp, seed=seed)
        return np.asarray(np.array(tensor)[..., -3:], dtype=np.float32)

    def guides(self, camera: CameraView, seed: int) -> tuple[Float32Array, Float32Array]:
        """Albedo in 0..1 and shading normals in world, (H, W, 3) each; on a grid, without seed."""
        del seed
        return traced_guides(
            self._tracer, self._images, self._frame, camera, self._settings.aux_spp
        )
