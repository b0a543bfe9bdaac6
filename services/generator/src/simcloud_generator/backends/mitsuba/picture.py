"""The pictures of one frame: radiance, denoising, development."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from simcloud.errors import InvalidRequest
from simcloud.scene.translate.types import NeutralScene
from simcloud.spec.parameters import CameraView, FrameParameters
from simcloud_generator.backends.frame_scene import FrameScene
from simcloud_generator.backends.images import Float32Array, ImageStore
from simcloud_generator.backends.mitsuba.film import Denoiser, develop
from simcloud_generator.backends.mitsuba.lighting import Lighting
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings
from simcloud_generator.backends.tracing import Tracer

SEED_STEP = 2
"""Seeds per camera: one for the picture, one for its guides."""


class FrameRadiance(Protocol):
    """One frame as a variant draws it."""

    def radiance(self, camera: CameraView, seed: int) -> Float32Array:
        """Linear radiance (H, W, 3)."""
        ...

    def guides(self, camera: CameraView, seed: int) -> tuple[Float32Array, Float32Array]:
        """Albedo in 0..1 and shading normals in world, (H, W, 3) each."""
        ...


class FrameSource(Protocol):
    """A scene as a variant draws it."""

    def frame(self, frame: FrameScene, lighting: Lighting) -> FrameRadiance:
        """Prepares a frame."""
        ...


class Pictures:
    """Makes the pictures of one scene.

    Args:
        scene: the stage.
        images: for textures and environments.
        tracer: traces the denoiser's guides where Mitsuba is too slow for it.
        settings: samples, depth, denoising.
        variant: the Mitsuba variant of this process.
        clock: what timings count, in seconds.
    """

    def __init__(
        self,
        *,
        scene: NeutralScene,
        images: ImageStore,
        tracer: Tracer,
        settings: MitsubaSettings,
        variant: str,
        clock: Callable[[], float],
    ) -> None:
        self._scene = scene
        self._settings = settings
        self._clock = clock
        self._denoiser = Denoiser()
        self._source = _source(
            scene=scene, images=images, tracer=tracer, settings=settings, variant=variant
        )

    def frame(self, frame: FrameScene, parameters: FrameParameters) -> FramePictures:
        """A frame, ready to be seen from any camera.

        Raises:
            InvalidRequest: the dome's texture is missing.
        """
        lighting = Lighting(
            dome=parameters.dome,
            dome_path=_dome_path(self._scene, parameters),
            rects=parameters.rect_lights,
        )
        return FramePictures(
            self._source.frame(frame, lighting),
            seed=parameters.render_seed,
            denoiser=self._denoiser if self._settings.denoise else None,
            clock=self._clock,
        )


class FramePictures:
    """One frame; dropped with it, so that nothing outlives the frame."""

    def __init__(
        self,
        frame: FrameRadiance,
        *,
        seed: int,
        denoiser: Denoiser | None,
        clock: Callable[[], float],
    ) -> None:
        self._frame = frame
        self._seed = seed
        self._denoiser = denoiser
        self._clock = clock

    def picture(
        self, camera: CameraView, index: int, timings: dict[str, float]
    ) -> npt.NDArray[np.uint8]:
        """The picture of one camera, uint8 sRGB (H, W, 3).

        Args:
            camera: where from.
            index: of the camera in the frame; cameras draw different samples.
            timings: receives the seconds of each stage: render, guides, denoise, develop.
        """
        started = self._clock()
        seed = (self._seed + SEED_STEP * index) & 0xFFFFFFFF
        radiance = np.nan_to_num(self._frame.radiance(camera, seed))
        timings["render"] = self._clock() - started
        if self._denoiser is not None:
            started = self._clock()
            albedo, normal = self._frame.guides(camera, (seed + 1) & 0xFFFFFFFF)
            timings["guides"] = self._clock() - started
            started = self._clock()
            radiance = self._denoiser.denoise(radiance, albedo, normal)
            timings["denoise"] = self._clock() - started
        started = self._clock()
        result = develop(radiance, camera.exposure_ev)
        timings["develop"] = self._clock() - started
        return result


def _source(
    *,
    scene: NeutralScene,
    images: ImageStore,
    tracer: Tracer,
    settings: MitsubaSettings,
    variant: str,
) -> FrameSource:
    # Imported once Mitsuba's variant is set: the modules name its types.
    if variant.startswith("scalar"):
        from simcloud_generator.backends.mitsuba.frame_scalar import ScalarSource

        return ScalarSource(scene=scene, images=images, tracer=tracer, settings=settings)
    from simcloud_generator.backends.mitsuba.frame_paths import PathTracer

    return PathTracer(scene=scene, images=images, settings=settings)


def _dome_path(scene: NeutralScene, parameters: FrameParameters) -> str | None:
    if parameters.dome is None:
        return None
    path = (Path(scene.root).parent / parameters.dome.texture).resolve()
    if not path.is_file():
        raise InvalidRequest(
            "dome.texture", f"{parameters.dome.texture} is not there, seen from {scene.root}"
        )
    return str(path)
