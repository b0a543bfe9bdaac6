"""Which renderer a run is made with: what its spec wants, of what a generator has."""

from __future__ import annotations

from simcloud.client.generator import GeneratorDescription
from simcloud.errors import PreconditionFailed
from simcloud.spec.model import Spec


def resolve_renderer(spec: Spec, description: GeneratorDescription) -> Spec:
    """The spec with ``auto`` replaced by what the generator would use.

    Raises:
        PreconditionFailed: the generator doesn't have the backend, or not the variant.
    """
    wanted = spec.renderer.backend
    for backend in description.backends:
        if wanted not in {"auto", backend.name}:
            continue
        variant = spec.renderer.variant
        if variant not in {"auto", *backend.variants}:
            raise PreconditionFailed(
                f"renderer.variant is {variant!r}; the generator renders {backend.name} with "
                f"{', '.join(backend.variants)}: use one that has it, or take that or auto"
            )
        renderer = spec.renderer.model_copy(
            update={
                "backend": backend.name,
                "variant": backend.variants[0] if variant == "auto" else variant,
            }
        )
        return spec.model_copy(update={"renderer": renderer})
    offered = ", ".join(backend.name for backend in description.backends)
    raise PreconditionFailed(
        f"renderer.backend is {wanted!r}; the generator has {offered or 'none'}: "
        "use another context or another backend"
    )
