"""The Isaac Sim backend: one application a process, one open stage at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from simcloud.annotators import ANNOTATORS, BACKGROUND_ID, UNLABELLED_ID
from simcloud.errors import InvalidRequest
from simcloud.gpu import Gpu
from simcloud.scene.stage import normalization
from simcloud.scene.translate.usd import read_scene
from simcloud.spec.parameters import CameraView, FrameParameters
from simcloud_generator.backends.base import RenderedView
from simcloud_generator.backends.camera_check import check_camera
from simcloud_generator.backends.frame_scene import FrameResolver, FrameScene
from simcloud_generator.backends.images import ImageStore
from simcloud_generator.backends.isaac import convert, rows
from simcloud_generator.backends.isaac.application import Application
from simcloud_generator.backends.isaac.capture import Capture, RawView, RendererFailed
from simcloud_generator.backends.isaac.frame_layer import FrameLayer
from simcloud_generator.backends.isaac.freshness import Expected, stale_reason
from simcloud_generator.backends.isaac.settings import IsaacSettings
from simcloud_generator.backends.isaac.views import (
    ViewContext,
    raw_annotators,
    view_arrays,
    view_objects,
)
from simcloud_generator.backends.tracing import Tracer, ViewTrace

MAX_FACES = 20_000_000
"""Triangles kept in acceleration structures."""

AUTO_EXPOSURE = "/rtx/post/histogram/enabled"
"""Kit's setting of automatic exposure, as several public projects set it; a camera's own exposure
is its ``exposure`` attribute. The smoke check looks at the brightness that comes out."""

CACHE_BYTES = 1 << 28
"""Of decoded opacity textures: pictures are the renderer's own."""


class IsaacBackend:
    """Renders with the application of this process. RTX is stochastic, and says so.

    Args:
        application: started on this thread.
        settings: as it was started.
        gpu: that renders; None where none was looked at.
    """

    name = "isaac"

    def __init__(
        self, application: Application, settings: IsaacSettings, gpu: Gpu | None = None
    ) -> None:
        self.application = application
        self.settings = settings
        self._gpu = gpu
        self._open: IsaacSession | None = None

    @property
    def variant(self) -> str:
        """RTX's mode."""
        return self.settings.renderer

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of Isaac Sim, of the GPU's driver, and which GPU it is."""
        found = {"isaacsim": self.application.version, "numpy": np.__version__}
        if self._gpu is not None:
            found |= {"gpu": self._gpu.name, "nvidia-driver": self._gpu.driver}
        return found

    def open(self, stage_path: Path, *, samples_per_pixel: int | None = None) -> IsaacSession:
        """Opens a stage; the one before is closed, since an application holds one.

        Args:
            stage_path: the stage's root layer.
            samples_per_pixel: of the path tracer; None leaves Isaac's default.

        Raises:
            InvalidRequest: the stage cannot be read.
        """
        if self._open is not None:
            self._open.close()
        scene = read_scene(stage_path)
        stage = self.application.open_stage(stage_path)
        if self.settings.renderer == "PathTracing" and samples_per_pixel is not None:
            for name in ("spp", "totalSpp"):  # equal: one subframe holds all samples
                self.application.set_setting(f"/rtx/pathtracing/{name}", samples_per_pixel)
        self._open = IsaacSession(self.application, self.settings, stage, scene)
        return self._open


class IsaacSession:
    """One opened stage. Only the main thread renders.

    Args:
        application: that holds the stage.
        settings: of captures.
        stage: the open ``Usd.Stage``.
        scene: the same, as every backend reads it.
    """

    def __init__(
        self, application: Application, settings: IsaacSettings, stage: Any, scene: Any
    ) -> None:
        self._application = application
        self._scene = scene
        self._resolver = FrameResolver(scene)
        self._layer = FrameLayer(stage, scene)
        self._capture: Capture | None = Capture(application, settings)
        self._context = ViewContext(normalization(stage), self._resolver.ids)
        self._serial = 0
        self._automatic: bool | None = None
        images = ImageStore(limit_bytes=CACHE_BYTES, max_side_px=1024, environment_size=(2, 1))
        self._tracer = Tracer(images, limit_faces=MAX_FACES)

    @property
    def id_to_label(self) -> Mapping[int, str]:
        """Class by ``semantic_segmentation`` id."""
        classes = {number: label for label, number in self._resolver.ids.items()}
        return {BACKGROUND_ID: "BACKGROUND", UNLABELLED_ID: "UNLABELLED", **classes}

    @property
    def unsupported(self) -> Sequence[str]:
        """What in the stage was not understood: without geometry that we read, no labels."""
        return (*self._scene.unsupported, *self._layer.problems)

    def render(self, parameters: FrameParameters, annotators: Sequence[str]) -> list[RenderedView]:
        """Renders one frame.

        Raises:
            InvalidRequest: the parameters name something that the scene does not have.
            RendererFailed: an annotator gives no data as recorded.
            RendererLost: the data stay those of another frame; the process has to be replaced.
        """
        self._check(parameters, annotators)
        timings: dict[str, float] = {}
        frame, raw = self.capture(parameters, raw_annotators(annotators), timings)
        views = []
        for camera, data in zip(parameters.cameras, raw, strict=True):
            started = time.perf_counter()
            view = self._view(frame, camera, data, annotators, timings)
            view.timings["labels"] = time.perf_counter() - started
            views.append(view)
            timings = {}
        return views

    def capture(
        self, parameters: FrameParameters, annotators: Sequence[str], timings: dict[str, float]
    ) -> tuple[FrameScene, list[RawView]]:
        """Captures one frame without reading it.

        Args:
            parameters: what the frame consists of.
            annotators: Replicator's names; must hold those of ``capture.LABELS``.
            timings: receives the seconds of each stage.

        Returns:
            What stands where, and what each annotator gave, for each camera.

        Raises:
            InvalidRequest: the parameters name something that the scene does not have.
            RendererFailed: an annotator gives no data as recorded.
            RendererLost: the data stay those of another frame; the process has to be replaced.
        """
        if self._capture is None:
            raise InvalidRequest("session", "it is closed")
        started = time.perf_counter()
        frame = self._resolver.resolve(parameters)
        self._serial += 1
        self._layer.apply(parameters, frame, self._serial)
        self._expose(parameters.cameras)
        self._application.wait_until_loaded()
        timings["build"] = time.perf_counter() - started
        started = time.perf_counter()
        raw = self._capture.take(parameters.cameras, annotators, partial(self._stale, frame))
        timings["render"] = time.perf_counter() - started
        return frame, raw

    def traced(self, frame: FrameScene, camera: CameraView) -> ViewTrace:
        """The rays that make the CPU backend's labels of the same frame."""
        return self._tracer.trace(frame, camera)

    def close(self) -> None:
        """Detaches, destroys, takes the edits out, closes the stage; twice is harmless."""
        if self._capture is None:
            return
        # In this order: a render product that outlives its stage keeps its memory.
        self._capture.close()
        self._capture = None
        self._layer.close()
        self._application.close_stage()

    def _check(self, parameters: FrameParameters, annotators: Sequence[str]) -> None:
        unknown = sorted(set(annotators) - set(ANNOTATORS))
        if unknown:
            raise InvalidRequest("annotators", f"there is no {', '.join(unknown)}")
        if parameters.backgrounds:
            raise InvalidRequest(
                "cameras", "pictures on backgrounds are composed by the mitsuba backend alone"
            )
        for index, camera in enumerate(parameters.cameras):
            check_camera(index, camera)

    def _expose(self, cameras: Sequence[CameraView]) -> None:
        """Auto exposure is RTX's own, for all cameras at once: on while none names an exposure."""
        automatic = all(camera.exposure_ev is None for camera in cameras)
        if automatic != self._automatic:
            self._application.set_setting(AUTO_EXPOSURE, automatic)
            self._automatic = automatic

    def _stale(self, frame: FrameScene, camera: CameraView, raw: RawView) -> str:
        convert.check_there(raw)
        objects = {
            group.prim: matrix
            for group in frame.groups
            if (matrix := self._layer.object_matrix(group)) is not None
        }
        expected = Expected(
            focus_distance=self._layer.rig.focus_distance(camera, self._serial),
            cam2world=self._layer.rig.camera_matrix(camera),
            size=(camera.width, camera.height),
            objects=objects,
        )
        found = rows.camera(raw["camera_params"])
        return stale_reason(expected, found, rows.boxes_3d(raw["bounding_box_3d_fast"]))

    def _view(
        self,
        frame: FrameScene,
        camera: CameraView,
        raw: RawView,
        annotators: Sequence[str],
        timings: dict[str, float],
    ) -> RenderedView:
        trace = self._tracer.trace(frame, camera)
        try:
            arrays = view_arrays(
                frame, camera, trace, raw, context=self._context, annotators=annotators
            )
        except convert.BadData as error:
            raise RendererFailed(f"camera {camera.name}: {error}") from error
        return RenderedView(
            camera=camera,
            arrays=arrays,
            objects=view_objects(frame, camera, trace, arrays),
            timings=timings,
        )
