"""What became of the catalogue since the process began: for metrics and for operators."""

from __future__ import annotations

from dataclasses import dataclass, field

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
