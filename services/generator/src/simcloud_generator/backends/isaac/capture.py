"""Replicator stepped by hand: render products, annotators, and data of the frame asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simcloud.errors import PreconditionFailed, SimcloudError
from simcloud.spec.parameters import CameraView
from simcloud_generator.backends.isaac.application import Application, watchdog
from simcloud_generator.backends.isaac.convert import BadData
from simcloud_generator.backends.isaac.rig import camera_path
from simcloud_generator.backends.isaac.settings import IsaacSettings
from simcloud_generator.backends.isaac.signatures import object_mismatches

if TYPE_CHECKING:
    # The recorded types, so that every call is checked; nothing can be imported from there before
    # the application runs.
    from omni.replicator.core import _Annotator, _HydraTexture

RawView = dict[str, object]
"""What each annotator returned for one camera, by Replicator's name."""

LABELS = (
    "instance_segmentation_fast",
    "semantic_segmentation",
    "distance_to_camera",
    "bounding_box_3d_fast",
    "camera_params",
)
"""Annotators that every view needs."""

_SEGMENTATION = {"colorize": False, "semanticTypes": ["class"]}
_PARAMETERS: dict[str, dict[str, Any]] = {
    "instance_segmentation_fast": _SEGMENTATION,
    "semantic_segmentation": _SEGMENTATION,
    "bounding_box_2d_tight_fast": {"semanticTypes": ["class"]},
    "bounding_box_2d_loose_fast": {"semanticTypes": ["class"]},
    "bounding_box_3d_fast": {"semanticTypes": ["class"]},
}
"""For boxes and segmentation alone: elsewhere the same parameter changes the global filter."""

MAX_STOPPING_UPDATES = 1000


class RendererFailed(SimcloudError):
    """The renderer gave no usable data for a frame."""

    reason = "RENDERER_FAILED"
    retryable = True


class RendererLost(SystemExit):
    """The renderer's state cannot be trusted any more: the process ends and is replaced.

    A ``SystemExit``, so that it passes what catches errors of single frames.
    """


@dataclass(slots=True, eq=False)
class _Buffers:
    """One camera's render product with its annotators; it owns both."""

    size: tuple[int, int]
    product: _HydraTexture
    annotators: dict[str, _Annotator] = field(default_factory=dict)
    fresh: bool = True
    """Whether nothing has been captured with all of them yet."""


class Capture:
    """Captures frames of the open stage. One thread, which is the main thread.

    Args:
        application: to pump.
        settings: subframes, limits.
    """

    def __init__(self, application: Application, settings: IsaacSettings) -> None:
        self._application = application
        self._settings = settings
        self._buffers: dict[str, _Buffers] = {}
        self._verified: set[str] = set()

    def take(
        self,
        cameras: Sequence[CameraView],
        annotators: Sequence[str],
        stale: Callable[[CameraView, RawView], str],
    ) -> list[RawView]:
        """Captures one frame with all cameras.

        Args:
            cameras: whose prims are in the stage.
            annotators: Replicator's names.
            stale: says why a view's data are not those of this frame; empty when they are.

        Raises:
            RendererFailed: an annotator gives no data.
            RendererLost: the data stay those of another frame.
        """
        used = [self._prepared(camera, annotators) for camera in cameras]
        self._enable(used, enabled=True)
        try:
            if any(buffers.fresh for buffers in used):
                for _ in range(self._settings.warmup_steps):
                    self._step()
            return self._fresh_views(cameras, used, stale)
        finally:
            self._enable(used, enabled=False)  # an idle camera would go on rendering

    def close(self) -> None:
        """Detaches and destroys everything, before the stage goes."""
        while self._buffers:
            _, buffers = self._buffers.popitem()
            _destroy(buffers)
        from omni.replicator.core import orchestrator

        with watchdog(self._settings.step_timeout_s):
            orchestrator.wait_until_complete()

    def _fresh_views(
        self,
        cameras: Sequence[CameraView],
        used: list[_Buffers],
        stale: Callable[[CameraView, RawView], str],
    ) -> list[RawView]:
        problem: str | BadData = ""
        for _ in range(1 + self._settings.stale_retries):
            self._step()
            views = [_data(buffers) for buffers in used]
            try:
                problem = next(filter(None, map(stale, cameras, views)), "")
            except BadData as error:
                problem = error
                continue
            if not problem:
                for buffers in used:
                    buffers.fresh = False
                return views
        tries = 1 + self._settings.stale_retries
        if isinstance(problem, BadData):
            raise RendererFailed(f"no usable data after {tries} captures: {problem}") from problem
        raise RendererLost(f"after {tries} captures the data are of another frame: {problem}")

    def _step(self) -> None:
        from omni.replicator.core import orchestrator

        for _ in range(MAX_STOPPING_UPDATES):
            # While stopping, step() returns at once and captures nothing.
            if orchestrator.get_status() != orchestrator.Status.STOPPING:
                break
            self._application.update()
        else:
            raise RendererLost("Replicator's orchestrator does not finish stopping")
        traced = self._settings.renderer == "PathTracing"
        try:
            with watchdog(self._settings.step_timeout_s):
                orchestrator.step(
                    # A path-traced subframe holds all samples; more would only repeat them.
                    rt_subframes=1 if traced else self._settings.rt_subframes,
                    pause_timeline=True,
                    # Always given: with None, a second start compares it with the last value.
                    delta_time=0.0,
                    # Without it, data may belong to an earlier frame.
                    wait_for_render=True,
                )
        except Exception as error:
            # A lost GPU or a broken graph: nothing that this process does is worth anything now.
            raise RendererLost(f"Replicator's step failed: {error!r}") from error

    def _prepared(self, camera: CameraView, annotators: Sequence[str]) -> _Buffers:
        import omni.replicator.core as rep

        size = (camera.width, camera.height)
        found = self._buffers.get(camera.name)
        if found is not None and found.size != size:  # a render product cannot be resized
            _destroy(self._buffers.pop(camera.name))
            found = None
        if found is None:
            product = rep.create.render_product(camera_path(camera.name), size)
            self._verify(product, "_HydraTexture")
            self._verify(product.hydra_texture, "_HydraHandle")
            found = self._buffers[camera.name] = _Buffers(size, product)
        for name in annotators:
            if name not in found.annotators:
                annotator = rep.AnnotatorRegistry.get_annotator(
                    name, init_params=_PARAMETERS.get(name), device="cpu", do_array_copy=True
                )
                self._verify(annotator, "_Annotator")
                # By path: attaching the product itself would enable its updates.
                annotator.attach(found.product.path)
                found.annotators[name] = annotator
                found.fresh = True
        return found

    def _verify(self, value: object, name: str) -> None:
        """Classes that only return values have are checked when the first one is met."""
        if name in self._verified:
            return
        found = object_mismatches(value, "omni.replicator.core", name)
        if found:
            raise PreconditionFailed(f"Replicator differs from the recorded API: {found}")
        self._verified.add(name)

    def _enable(self, used: list[_Buffers], *, enabled: bool) -> None:
        for buffers in used:
            buffers.product.hydra_texture.set_updates_enabled(enabled)


def _data(buffers: _Buffers) -> RawView:
    return {
        name: annotator.get_data(do_array_copy=True, use_legacy_structure=False)
        for name, annotator in buffers.annotators.items()
    }


def _destroy(buffers: _Buffers) -> None:
    for annotator in buffers.annotators.values():
        annotator.detach()  # without arguments: a list of products is not turned into paths
    buffers.product.destroy()
