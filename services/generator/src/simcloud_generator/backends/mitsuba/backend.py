"""The Mitsuba backend: pictures by path tracing, labels by rays of our own."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from simcloud.annotators import ANNOTATORS, BACKGROUND_ID, UNLABELLED_ID
from simcloud.errors import InvalidRequest
from simcloud.scene.translate.types import NeutralScene
from simcloud.scene.translate.usd import read_scene
from simcloud.spec.parameters import CameraView, FrameParameters
from simcloud_generator.backends.base import RenderedView
from simcloud_generator.backends.camera_check import check_camera
from simcloud_generator.backends.frame_scene import FrameResolver, FrameScene
from simcloud_generator.backends.images import ImageStore
from simcloud_generator.backends.labelling import label_arrays, object_labels, point_cloud
from simcloud_generator.backends.mitsuba.picture import FramePictures, Pictures
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings
from simcloud_generator.backends.mitsuba.variant import (
    choose_variant,
    find_llvm,
    prepare_process,
)
from simcloud_generator.backends.tracing import Tracer

LIBRARIES = (
    "mitsuba",
    "drjit",
    "mitsuba-oidn",
    "embreex",
    "numpy",
    "opencv-python-headless",
    "usd-core",
)
"""Packages that pixels or labels depend on."""

PICTURE_REVISION = "4"
"""Raised by every change of this package after which the same libraries draw other pixels."""

MAX_FACES = 20_000_000
"""Triangles kept in acceleration structures."""


class MitsubaBackend:
    """Renders with one variant; a process can hold only one.

    Args:
        settings: how pictures are made.
        clock: what the stages' timings count, in seconds; a benchmark counts CPU time.

    Raises:
        PreconditionFailed: this machine cannot render with the variant that was asked for.
    """

    name = "mitsuba"

    def __init__(
        self, settings: MitsubaSettings, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.settings = settings
        self._clock = clock
        self.variant = choose_variant(settings.variant)
        prepare_process(self.variant, threads=settings.threads, kernel_cache=settings.kernel_cache)

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of the libraries, and LLVM's major version where it draws."""
        found = {library: importlib.metadata.version(library) for library in LIBRARIES}
        found["path-tracer"] = PICTURE_REVISION
        llvm = find_llvm() if self.variant == "llvm_ad_rgb" else None
        if llvm is not None:
            found["llvm"] = str(llvm[1])
        return found

    def open(self, stage_path: Path) -> MitsubaSession:
        """Opens a stage.

        Raises:
            InvalidRequest: the stage cannot be read.
        """
        return MitsubaSession(
            read_scene(stage_path), self.settings, self.variant, clock=self._clock
        )


class MitsubaSession:
    """One opened stage. One thread renders."""

    def __init__(
        self,
        scene: NeutralScene,
        settings: MitsubaSettings,
        variant: str,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._clock = clock
        self._scene = scene
        self._settings = settings
        self._variant = variant
        self._resolver = FrameResolver(scene)
        self._images = ImageStore(
            limit_bytes=settings.cache_bytes,
            max_side_px=settings.max_texture_px,
            environment_size=settings.environment_size,
        )
        self._tracer: Tracer | None = Tracer(self._images, limit_faces=MAX_FACES)
        self._pictures: Pictures | None = None

    @property
    def id_to_label(self) -> Mapping[int, str]:
        """Class by ``semantic_segmentation`` id."""
        classes = {number: label for label, number in self._resolver.ids.items()}
        return {BACKGROUND_ID: "BACKGROUND", UNLABELLED_ID: "UNLABELLED", **classes}

    @property
    def unsupported(self) -> Sequence[str]:
        """What in the stage was not understood."""
        return self._scene.unsupported

    @property
    def scene(self) -> NeutralScene:
        """The stage as it was read."""
        return self._scene

    def render(self, parameters: FrameParameters, annotators: Sequence[str]) -> list[RenderedView]:
        """Renders one frame.

        Raises:
            InvalidRequest: the parameters name something that the scene does not have.
        """
        if self._tracer is None:
            raise InvalidRequest("session", "it is closed")
        unknown = sorted(set(annotators) - set(ANNOTATORS))
        if unknown:
            raise InvalidRequest("annotators", f"there is no {', '.join(unknown)}")
        for index, camera in enumerate(parameters.cameras):
            check_camera(index, camera)
        timings: dict[str, float] = {}
        started = self._clock()
        frame = self._resolver.resolve(parameters)
        pictures = None
        if {"rgb", "pointcloud"} & set(annotators):
            pictures = self._frame_pictures(self._tracer, frame, parameters)
        timings["build"] = self._clock() - started
        views = []
        for index, camera in enumerate(parameters.cameras):
            view = self._view(
                frame,
                camera,
                index=index,
                pictures=pictures,
                annotators=annotators,
                timings=timings,
            )
            views.append(view)
            timings = {}
        return views

    def _view(
        self,
        frame: FrameScene,
        camera: CameraView,
        *,
        index: int,
        pictures: FramePictures | None,
        annotators: Sequence[str],
        timings: dict[str, float],
    ) -> RenderedView:
        assert self._tracer is not None
        started = self._clock()
        normals = bool({"normals", "pointcloud"} & set(annotators))
        trace = self._tracer.trace(frame, camera, surfaces=normals)
        motion = "motion_vectors" in annotators
        arrays = label_arrays(frame, camera, trace, normals=normals, motion=motion)
        objects = object_labels(frame, camera, trace, arrays)
        timings["labels"] = self._clock() - started
        if pictures is not None:
            arrays["rgb"] = pictures.picture(camera, index, timings)
        if "pointcloud" in annotators:
            arrays["pointcloud"] = point_cloud(camera, trace, arrays)
        ordered = {name: arrays[name] for name in ANNOTATORS if name in arrays}
        return RenderedView(camera=camera, arrays=ordered, objects=objects, timings=timings)

    def _frame_pictures(
        self, tracer: Tracer, frame: FrameScene, parameters: FrameParameters
    ) -> FramePictures:
        if self._pictures is None:
            self._pictures = Pictures(
                scene=self._scene,
                images=self._images,
                tracer=tracer,
                settings=self._settings,
                variant=self._variant,
                clock=self._clock,
            )
        return self._pictures.frame(frame, parameters)

    def close(self) -> None:
        """Frees acceleration structures and textures; calling it twice is harmless."""
        self._tracer = None
        self._pictures = None
