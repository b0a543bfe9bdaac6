"""What became of the catalogue since the process began: for metrics and for operators."""

from __future__ import annotations

from dataclasses import dataclass, field

FOUND = "found"
DENIED = "denied"
THROTTLED = "throttled"
FAILED = "failed"
"""Outcomes of a look for tagged endpoints."""

LOADED = "loaded"
UNCHANGED = "unchanged"
REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class CatalogChange:
    """What a new catalogue changed, by model, each in the order of its catalogue."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether it changed anything."""
        return bool(self.added or self.changed or self.removed)


@dataclass(slots=True)
class CatalogStatus:
    """Which catalogue is served, and how often another was read."""

    digest: str
    """SHA-256 of the files of the one that is served, in hex."""
    loaded_at_s: float
    """When it was taken, seconds since the epoch."""
    problem: str = ""
    """Why the file's present content is not served; empty: it is."""
    reloads: dict[str, int] = field(default_factory=lambda: {LOADED: 0, UNCHANGED: 0, REJECTED: 0})
    """Times that the file was read again, by outcome."""


@dataclass(slots=True)
class DiscoveryStatus:
    """What became of looking for tagged endpoints."""

    enabled: bool = False
    """Whether the catalogue that is served asks for it."""
    problem: str = ""
    """Why the last look failed, after which what was found before is served on; empty: it did
    not."""
    conflicts: tuple[str, ...] = ()
    """What of the tags could not be followed, a sentence each."""
    targets: int = 0
    """Found endpoints that take requests."""
    looked_at_s: float = 0.0
    """When the last look that did not fail ended, seconds since the epoch; 0: none yet."""
    looks: dict[str, int] = field(
        default_factory=lambda: {FOUND: 0, DENIED: 0, THROTTLED: 0, FAILED: 0}
    )
    """Looks, by outcome."""

    @property
    def problems(self) -> tuple[str, ...]:
        """All that an operator should know."""
        return (*((self.problem,) if self.problem else ()), *self.conflicts)
