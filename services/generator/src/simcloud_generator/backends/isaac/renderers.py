"""A worker process as Isaac Sim: started once, tried with one frame, then opened for specs."""

from __future__ import annotations

from pathlib import Path

from simcloud.errors import PreconditionFailed, Violation
from simcloud.gpu import list_gpus
from simcloud.spec.fingerprint import make_fingerprint
from simcloud.spec.model import Renderer
from simcloud_generator.backends.base import Session
from simcloud_generator.backends.isaac.application import start
from simcloud_generator.backends.isaac.backend import IsaacBackend
from simcloud_generator.backends.isaac.preflight import look_for_assets, try_frame
from simcloud_generator.jobs import KernelCounts, WorkerConfiguration, WorkerIdentity
from simcloud_generator.settling.settler import physics_versions


class IsaacRenderers:
    """Opens scenes for specs on one GPU.

    Args:
        configuration: the worker's; its place chooses the GPU.

    Raises:
        PreconditionFailed: Isaac Sim cannot start, is not one that is known, or fails at a frame.
    """

    def __init__(self, configuration: WorkerConfiguration) -> None:
        settings = configuration.isaac
        index = settings.gpus[configuration.place % len(settings.gpus)]
        self._application = start(settings, index)
        gpu = next((item for item in list_gpus() if item.index == index), None)
        self._backend = IsaacBackend(self._application, settings, gpu)
        tried = try_frame(self._backend)
        if not tried.ok:
            raise PreconditionFailed(
                f"Isaac Sim started but its first frame is wrong: {tried.detail}",
                violations=(
                    Violation(
                        kind="PREFLIGHT_FAILED", subject=tried.name, description=tried.detail
                    ),
                ),
            )
        found = make_fingerprint(
            backend=self._backend.name,
            variant=self._backend.variant,
            versions={**self._backend.versions, **physics_versions()},
        )
        self._identity = WorkerIdentity(
            backend=self._backend.name,
            variant=self._backend.variant,
            variants=(self._backend.variant,),
            stochastic=True,
            fingerprint=found.digest,
            fingerprint_json=found.to_json().decode(),
            preflight=(*configuration.preflight, look_for_assets(settings), tried),
        )

    @property
    def stopping(self) -> bool:
        """Whether SIGTERM has come."""
        return self._application.stopping

    def identity(self) -> WorkerIdentity:
        """Who renders."""
        return self._identity

    def open(self, renderer: Renderer, stage: Path) -> Session:
        """Opens a stage to be rendered as a spec says.

        Raises:
            PreconditionFailed: the spec wants a renderer that this worker is not.
            InvalidRequest: the stage can't be read.
        """
        own = self._backend.variant
        if renderer.backend not in ("auto", "isaac") or renderer.variant not in ("auto", own):
            raise PreconditionFailed(
                f"the spec wants {renderer.backend}/{renderer.variant}, this worker renders with "
                f"isaac/{own}"
            )
        if renderer.mode == "composite":
            raise PreconditionFailed(
                "renderer.mode composite needs no GPU and is not made by Isaac Sim: give the run "
                "to a generator of backend mitsuba, or set the mode to full"
            )
        return self._backend.open(stage, samples_per_pixel=renderer.samples_per_pixel)

    def kernels(self) -> KernelCounts:
        """None: Isaac Sim keeps its shaders to itself."""
        return KernelCounts()

    def close(self) -> None:
        """Ends Isaac Sim, and with it the process."""
        self._application.close()
