"""The compositing backend's session: resolve, trace, shade, compose."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from simcloud.annotators import ANNOTATORS, BACKGROUND_ID, UNLABELLED_ID
from simcloud.errors import InvalidRequest
from simcloud.scene.translate.types import NeutralScene
from simcloud.scene.translate.usd import read_scene
from simcloud.spec.parameters import BackgroundView, CameraView, FrameParameters
from simcloud_generator.backends.base import RenderedView
from simcloud_generator.backends.camera_check import check_camera
from simcloud_generator.backends.compositing.light import Light, frame_light
from simcloud_generator.backends.compositing.picture import compose
from simcloud_generator.backends.compositing.settings import CompositingSettings
from simcloud_generator.backends.compositing.texels import Texels
from simcloud_generator.backends.frame_scene import FrameResolver, FrameScene
from simcloud_generator.backends.images import ImageStore
from simcloud_generator.backends.labelling import label_arrays, object_labels, point_cloud
from simcloud_generator.backends.tracing import Tracer


def open_compositing(
    stage_path: Path,
    settings: CompositingSettings,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> CompositingSession:
    """Opens a stage whose objects are composited on backgrounds.

    Raises:
        InvalidRequest: the stage cannot be read.
    """
    return CompositingSession(read_scene(stage_path), settings, clock=clock)


class CompositingSession:
    """One opened stage. One thread renders.

    Pictures show the placed objects alone, on the background that the frame's parameters name;
    labels come from the same rays as those of the full renderer, with what no object covers as
    background.
    """

    def __init__(
        self,
        scene: NeutralScene,
        settings: CompositingSettings,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._clock = clock
        self._scene = scene
        self._resolver = FrameResolver(scene)
        self._images = ImageStore(
            limit_bytes=settings.cache_bytes,
            max_side_px=settings.max_texture_px,
            environment_size=settings.environment_size,
        )
        self._texels = Texels(self._images, limit_bytes=settings.cache_bytes)
        self._tracer: Tracer | None = Tracer(self._images, limit_faces=settings.max_faces)

    @property
    def id_to_label(self) -> Mapping[int, str]:
        """Class by ``semantic_segmentation`` id: the full renderer's."""
        classes = {number: label for label, number in self._resolver.ids.items()}
        return {BACKGROUND_ID: "BACKGROUND", UNLABELLED_ID: "UNLABELLED", **classes}

    @property
    def unsupported(self) -> Sequence[str]:
        """What in the stage was not understood."""
        return self._scene.unsupported

    def render(self, parameters: FrameParameters, annotators: Sequence[str]) -> list[RenderedView]:
        """Renders one frame.

        Raises:
            InvalidRequest: the parameters name something that the scene does not have, or no
                background for a camera.
        """
        if self._tracer is None:
            raise InvalidRequest("session", "it is closed")
        unknown = sorted(set(annotators) - set(ANNOTATORS))
        if unknown:
            raise InvalidRequest("annotators", f"there is no {', '.join(unknown)}")
        for index, camera in enumerate(parameters.cameras):
            check_camera(index, camera)
        if len(parameters.backgrounds) != len(parameters.cameras):
            raise InvalidRequest(
                "backgrounds",
                f"{len(parameters.backgrounds)} for {len(parameters.cameras)} cameras: a "
                "composite picture needs one each",
            )
        started = self._clock()
        whole = self._resolver.resolve(parameters)
        # what stands in the stage itself is what the background stands for
        frame = FrameScene(groups=tuple(group for group in whole.groups if group.asset))
        light = None
        if {"rgb", "pointcloud"} & set(annotators):
            dome = parameters.dome
            path = None if dome is None else self._file("dome.texture", dome.texture)
            light = frame_light(self._scene, parameters, path, self._images)
        timings = {"build": self._clock() - started}
        views = []
        for camera, background in zip(parameters.cameras, parameters.backgrounds, strict=True):
            view = self._view(
                frame, camera, background, light=light, annotators=annotators, timings=timings
            )
            views.append(view)
            timings = {}
        return views

    def _view(
        self,
        frame: FrameScene,
        camera: CameraView,
        background: BackgroundView,
        *,
        light: Light | None,
        annotators: Sequence[str],
        timings: dict[str, float],
    ) -> RenderedView:
        assert self._tracer is not None
        started = self._clock()
        trace = self._tracer.trace(frame, camera)
        arrays = label_arrays(
            frame,
            camera,
            trace,
            normals=bool({"normals", "pointcloud"} & set(annotators)),
            motion="motion_vectors" in annotators,
        )
        objects = object_labels(frame, camera, trace, arrays)
        timings["labels"] = self._clock() - started
        if light is not None:
            started = self._clock()
            arrays["rgb"] = compose(
                frame=frame,
                camera=camera,
                trace=trace,
                tracer=self._tracer,
                texels=self._texels,
                light=light,
                view=background,
                picture=self._images.pixels(self._file("background", background.picture)),
            )
            timings["render"] = self._clock() - started
        if "pointcloud" in annotators:
            arrays["pointcloud"] = point_cloud(camera, trace, arrays)
        ordered = {name: arrays[name] for name in ANNOTATORS if name in arrays}
        return RenderedView(camera=camera, arrays=ordered, objects=objects, timings=timings)

    def _file(self, field: str, relative: str) -> str:
        path = (Path(self._scene.root).parent / relative).resolve()
        if not path.is_file():
            raise InvalidRequest(field, f"{relative} is not there, seen from {self._scene.root}")
        return str(path)

    def close(self) -> None:
        """Frees acceleration structures; calling it twice is harmless."""
        self._tracer = None
