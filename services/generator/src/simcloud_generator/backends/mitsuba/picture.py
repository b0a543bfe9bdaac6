"""The pictures of one frame: path tracing, denoising, development."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mitsuba as mi
import numpy as np
import numpy.typing as npt

from simcloud.errors import InvalidRequest
from simcloud.scene.translate.types import NeutralScene
from simcloud.spec.parameters import CameraView, FrameParameters
from simcloud_generator.backends.frame_scene import FrameScene
from simcloud_generator.backends.images import Float32Array, ImageStore
from simcloud_generator.backends.mitsuba.film import denoise, develop
from simcloud_generator.backends.mitsuba.scene import Lighting, build_scene, sensor
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings

Guides = Callable[[FrameScene, CameraView], tuple[Float32Array, Float32Array]]

SEED_STEP = 2
"""Seeds per camera: one for the picture, one for its guides."""


class FramePictures:
    """The Mitsuba scene of one frame; dropped with it, so that nothing outlives the frame.

    Args:
        scene: the stage.
        frame: its groups in this frame.
        parameters: lights and seed.
        images: for textures and environments.
        settings: samples, depth, denoising.
        variant: the Mitsuba variant of this process.
        clock: what timings count, in seconds.

    Raises:
        InvalidRequest: the dome's texture is missing.
    """

    def __init__(
        self,
        *,
        scene: NeutralScene,
        frame: FrameScene,
        parameters: FrameParameters,
        images: ImageStore,
        settings: MitsubaSettings,
        variant: str,
        clock: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._frame = frame
        self._seed = parameters.render_seed
        self._settings = settings
        self._scalar = variant.startswith("scalar")
        lighting = Lighting(
            dome=parameters.dome,
            dome_path=_dome_path(scene, parameters),
            rects=parameters.rect_lights,
        )
        self._scene = build_scene(scene, frame, lighting, images, settings.max_depth)

    def picture(
        self, camera: CameraView, index: int, guides: Guides, timings: dict[str, float]
    ) -> npt.NDArray[np.uint8]:
        """The picture of one camera, uint8 sRGB (H, W, 3).

        Args:
            camera: where from.
            index: of the camera in the frame; cameras draw different samples.
            guides: traces the denoiser's guides where Mitsuba is too slow for it.
            timings: receives the seconds of each stage.
        """
        started = self._clock()
        seed = (self._seed + SEED_STEP * index) & 0xFFFFFFFF
        view = sensor(camera, spp=self._settings.spp)
        # the stubs ask for a UInt32 of the variant; every variant takes an int
        render: Any = mi.render
        radiance = _array(render(self._scene, sensor=view, spp=self._settings.spp, seed=seed))
        timings["render"] = self._clock() - started
        if self._settings.denoise:
            started = self._clock()
            albedo, normal = (
                guides(self._frame, camera)
                if self._scalar
                else self._aov_guides(camera, (seed + 1) & 0xFFFFFFFF)
            )
            timings["guides"] = self._clock() - started
            started = self._clock()
            radiance = denoise(np.nan_to_num(radiance), albedo, normal)
            timings["denoise"] = self._clock() - started
        started = self._clock()
        result = develop(radiance, camera.exposure_ev)
        timings["develop"] = self._clock() - started
        return result

    def _aov_guides(self, camera: CameraView, seed: int) -> tuple[Float32Array, Float32Array]:
        spp = self._settings.aux_spp
        integrator = mi.load_dict({"type": "aov", "aovs": "albedo:albedo,normal:sh_normal"})
        render: Any = mi.render
        values = _array(
            render(
                self._scene,
                sensor=sensor(camera, spp=spp),
                integrator=integrator,
                spp=spp,
                seed=seed,
            ),
            keep=6,
        )
        clean = np.nan_to_num(values)
        return clean[..., :3], clean[..., 3:]


def _array(tensor: Any, keep: int = 3) -> Float32Array:
    """The last ``keep`` channels of a rendered tensor, float32 (H, W, keep)."""
    return np.asarray(np.array(tensor)[..., -keep:], dtype=np.float32)


def _dome_path(scene: NeutralScene, parameters: FrameParameters) -> str | None:
    if parameters.dome is None:
        return None
    path = (Path(scene.root).parent / parameters.dome.texture).resolve()
    if not path.is_file():
        raise InvalidRequest(
            "dome.texture", f"{parameters.dome.texture} is not there, seen from {scene.root}"
        )
    return str(path)
