"""The renderers that a worker process can offer, and who it is when it renders."""

from __future__ import annotations

from pathlib import Path

from simcloud.errors import PreconditionFailed
from simcloud.spec.fingerprint import make_fingerprint
from simcloud.spec.model import Renderer
from simcloud_generator.backends.base import Session
from simcloud_generator.backends.mitsuba.backend import MitsubaBackend
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings
from simcloud_generator.backends.mitsuba.variant import usable
from simcloud_generator.jobs import Preflight, WorkerConfiguration, WorkerIdentity

_SCALAR_COST = "pictures take about three times as long without it (variant scalar_rgb)"


class Renderers:
    """Opens scenes for specs.

    Args:
        configuration: the worker's.

    Raises:
        PreconditionFailed: this machine can't render with the variant asked for.
    """

    def __init__(self, configuration: WorkerConfiguration) -> None:
        self._configuration = configuration
        backend = MitsubaBackend(self._settings(Renderer()))
        self._variant = backend.variant
        self._identity = self._describe(backend)

    def identity(self) -> WorkerIdentity:
        """Who renders."""
        return self._identity

    def open(self, renderer: Renderer, stage: Path) -> Session:
        """Opens a stage to be rendered as a spec says.

        Raises:
            PreconditionFailed: the spec wants a renderer that this worker is not.
            InvalidRequest: the stage can't be read.
        """
        wanted = (renderer.backend, renderer.variant)
        if wanted[0] not in ("auto", "mitsuba") or wanted[1] not in ("auto", self._variant):
            raise PreconditionFailed(
                f"the spec wants {wanted[0]}/{wanted[1]}, this worker renders with "
                f"mitsuba/{self._variant}"
            )
        return MitsubaBackend(self._settings(renderer, self._variant)).open(stage)

    def _settings(self, renderer: Renderer, variant: str = "") -> MitsubaSettings:
        return MitsubaSettings(
            variant=variant or self._configuration.variant,
            spp=renderer.samples_per_pixel,
            max_depth=renderer.max_depth,
            denoise=renderer.denoise,
            aux_spp=renderer.guide_samples,
            threads=self._configuration.threads,
            kernel_cache=self._configuration.kernel_cache,
        )

    def _describe(self, backend: MitsubaBackend) -> WorkerIdentity:
        found = make_fingerprint(
            backend=backend.name, variant=backend.variant, versions=backend.versions
        )
        problem = usable("llvm_ad_rgb") if backend.variant == "scalar_rgb" else None
        detail = f"{problem}; {_SCALAR_COST}" if problem else f"renders with {backend.variant}"
        return WorkerIdentity(
            backend=backend.name,
            variant=backend.variant,
            variants=(backend.variant,),
            stochastic=False,
            fingerprint=found.digest,
            fingerprint_json=found.to_json().decode(),
            preflight=(Preflight(name="llvm", ok=problem is None, detail=detail),),
        )
