"""What pixels and labels may depend on besides the spec."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from simcloud.spec.canonical import canonical_bytes

DIGEST_CHARACTERS = 16

CPU_LEVELS: tuple[tuple[str, frozenset[str]], ...] = (
    (
        "x86-64-v4",
        frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
    ),
    (
        "x86-64-v3",
        frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    ),
    (
        "x86-64-v2",
        frozenset({"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"}),
    ),
)
"""Micro-architecture levels of the x86-64 psABI, the highest first, by Linux's flag names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderFingerprint:
    """Within one fingerprint, labels and pixels of a frame are bit-identical."""

    backend: str
    variant: str
    versions: tuple[tuple[str, str], ...]
    """(library, version), ordered by library."""
    cpu_level: str
    """Vector instructions that generated code may use: ``x86-64-v4`` and the like."""
    machine: str
    """Architecture, for example ``x86_64``."""

    @property
    def digest(self) -> str:
        """The first 16 hex digits of SHA-256 over the RFC 8785 JSON of all fields."""
        return hashlib.sha256(self.to_json()).hexdigest()[:DIGEST_CHARACTERS]

    def to_json(self) -> bytes:
        """RFC 8785 JSON of all fields, for provenance records."""
        return canonical_bytes(
            {
                "backend": self.backend,
                "variant": self.variant,
                "versions": dict(self.versions),
                "cpu_level": self.cpu_level,
                "machine": self.machine,
            }
        )


def make_fingerprint(
    *, backend: str, variant: str, versions: Mapping[str, str]
) -> RenderFingerprint:
    """The fingerprint of this machine.

    Args:
        backend: name of the renderer.
        variant: which of its variants draws.
        versions: of every library that pixels or labels may depend on.
    """
    return RenderFingerprint(
        backend=backend,
        variant=variant,
        versions=tuple(sorted(versions.items())),
        cpu_level=this_cpu_level(),
        machine=platform.machine(),
    )


def this_cpu_level(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """This CPU's level; ``unknown`` where Linux's cpuinfo cannot be read."""
    try:
        lines = cpuinfo.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return "unknown"
    flags = next((line.partition(":")[2] for line in lines if line.startswith("flags")), None)
    return cpu_level(frozenset(flags.split())) if flags is not None else platform.machine()


def cpu_level(flags: frozenset[str]) -> str:
    """The highest level whose flags, and those of all levels below it, are there."""
    best = "x86-64-v1"
    for name, needed in reversed(CPU_LEVELS):
        if not needed <= flags:
            break
        best = name
    return best
