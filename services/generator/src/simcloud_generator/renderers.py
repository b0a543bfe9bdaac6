"""The renderers that a worker process can offer, and who it is when it renders."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from simcloud.errors import PreconditionFailed, Violation
from simcloud.gpu import list_gpus
from simcloud.spec.canonical import canonical_json, digest
from simcloud.spec.fingerprint import make_fingerprint
from simcloud.spec.model import Renderer, Spec
from simcloud_generator.backends.base import Session
from simcloud_generator.backends.compositing.session import open_compositing
from simcloud_generator.backends.compositing.settings import CompositingSettings
from simcloud_generator.backends.isaac.hardware import check_hardware, must_pass
from simcloud_generator.backends.isaac.settings import IsaacSettings
from simcloud_generator.backends.mitsuba.backend import MitsubaBackend
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings
from simcloud_generator.backends.mitsuba.variant import (
    VARIANTS,
    adopt,
    judge,
    kernels_got,
    usable,
)
from simcloud_generator.jobs import KernelCounts, Preflight, WorkerConfiguration, WorkerIdentity
from simcloud_generator.settling.settler import physics_versions

_SCALAR_COST = "pictures take about three times as long without it (variant scalar_rgb)"


class Renderers(Protocol):
    """What a worker process renders with."""

    @property
    def stopping(self) -> bool:
        """Whether this process was told to stop by itself: no more jobs after this one."""
        ...

    def identity(self) -> WorkerIdentity:
        """Who renders."""
        ...

    def open(self, renderer: Renderer, stage: Path) -> Session:
        """Opens a stage to be rendered as a spec says.

        Raises:
            PreconditionFailed: the spec wants a renderer that this worker is not.
            InvalidRequest: the stage can't be read.
        """
        ...

    def kernels(self) -> KernelCounts:
        """Kernels that this process had to get since its start."""
        ...

    def close(self) -> None:
        """Ends the renderer, and with Isaac Sim the process."""
        ...


@dataclass(frozen=True, slots=True)
class BackendChoice:
    """Which renderer a generator's workers are, and what was looked at to find out."""

    backend: str
    preflight: tuple[Preflight, ...] = ()


def choose_backend(wanted: str, settings: IsaacSettings) -> BackendChoice:
    """Resolves the setting ``backend``; nothing of a renderer is imported.

    Args:
        wanted: ``auto``, ``mitsuba`` or ``isaac``.
        settings: of the Isaac backend.

    Raises:
        PreconditionFailed: Isaac Sim is wanted and cannot run here; every reason is named.
    """
    if wanted == "mitsuba":
        return BackendChoice("mitsuba")
    if importlib.util.find_spec("isaacsim") is None:
        if wanted == "auto":
            return BackendChoice("mitsuba")
        raise PreconditionFailed(
            "backend isaac is wanted, but this Python has no isaacsim: start the generator with "
            "Isaac Sim's python.sh, or set the backend to mitsuba"
        )
    checks = check_hardware(settings, list_gpus())
    failed = must_pass(checks)
    if not failed:
        return BackendChoice("isaac", checks)
    if wanted == "auto":
        return BackendChoice("mitsuba", checks)
    raise PreconditionFailed(
        f"Isaac Sim cannot run on this machine: {'; '.join(check.detail for check in failed)}",
        violations=tuple(
            Violation(kind="PREFLIGHT_FAILED", subject=check.name, description=check.detail)
            for check in failed
        ),
    )


def try_variants(configuration: WorkerConfiguration) -> WorkerConfiguration:
    """The configuration with what need not be found out by each worker; takes seconds.

    Imports nothing of a renderer: variants are tried in processes of their own.
    """
    asked = configuration.variant
    if configuration.backend != "mitsuba" or asked not in ("auto", *VARIANTS):
        return configuration
    if asked == "scalar_rgb":  # such a worker tells what LLVM's absence costs
        variants: tuple[str, ...] = ("scalar_rgb", "llvm_ad_rgb")
    else:
        variants = ("llvm_ad_rgb",) if asked == "auto" else (asked,)
    memory = configuration.kernel_cache
    return replace(
        configuration, verdicts=tuple(judge(variant, memory=memory) for variant in variants)
    )


def resolved_digest(spec: Spec, identity: WorkerIdentity) -> str:
    """Digest of a spec as this renderer reads it: what is ``auto`` is what it has.

    A spec is validated before ``auto`` is filled in and rendered afterwards; both are one scene.
    """
    own = {"backend": identity.backend, "variant": identity.variant}
    filled = {name: value for name, value in own.items() if getattr(spec.renderer, name) == "auto"}
    renderer = spec.renderer.model_copy(update=filled)
    return digest(canonical_json(spec.model_copy(update={"renderer": renderer})))


def open_renderers(configuration: WorkerConfiguration) -> Renderers:
    """The renderer that a worker process is; called on its main thread.

    Raises:
        PreconditionFailed: this machine can't render as configured.
    """
    if configuration.backend == "isaac":
        from simcloud_generator.backends.isaac.renderers import IsaacRenderers

        return IsaacRenderers(configuration)
    return MitsubaRenderers(configuration)


class MitsubaRenderers:
    """Opens scenes for specs.

    Args:
        configuration: the worker's.

    Raises:
        PreconditionFailed: this machine can't render with the variant asked for.
    """

    def __init__(self, configuration: WorkerConfiguration) -> None:
        adopt(configuration.verdicts)
        self._configuration = configuration
        backend = MitsubaBackend(self._settings(Renderer()))
        self._variant = backend.variant
        self._identity = self._describe(backend)

    @property
    def stopping(self) -> bool:
        """Never: SIGTERM ends such a process at once."""
        return False

    def kernels(self) -> KernelCounts:
        """Kernels that this process had to get since its start."""
        compiled, cached = kernels_got()
        return KernelCounts(compiled=compiled, cached=cached)

    def close(self) -> None:
        """Nothing outlives the process."""

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
        if renderer.mode == "composite":
            return open_compositing(stage, CompositingSettings())
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
            backend=backend.name,
            variant=backend.variant,
            versions={**backend.versions, **physics_versions()},
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
            preflight=(
                *self._configuration.preflight,
                Preflight(name="llvm", ok=problem is None, detail=detail),
            ),
        )
