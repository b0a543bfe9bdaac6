"""What rendering took: cost figures, not accounting; a frame rendered twice counts twice."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from simcloud.client.generation import GenerateTotals, StageSeconds

STAGES = tuple(item.name for item in fields(StageSeconds) if item.name != "cpu")
"""Stages of a frame, in the order in which it passes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationCost:
    """What rendering took, over all calls of this process: cost figures, not accounting."""

    rendered_frames: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    idle_s: float = 0.0
    workers: int = 0
    fingerprint: str = ""
    bytes_stored: int = 0
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds by stage, all frames."""

    @property
    def idle_share(self) -> float | None:
        """Share of the workers' time in which they waited."""
        whole = self.wall_s * self.workers
        return self.idle_s / whole if whole > 0 else None

    @property
    def images_per_s(self) -> float | None:
        """Rendered frames by wall-clock time."""
        return self.rendered_frames / self.wall_s if self.wall_s > 0 else None


@dataclass(slots=True)
class CostCount:
    """Cost figures as they come in; every field is state."""

    rendered: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    idle_s: float = 0.0
    workers: int = 0
    fingerprint: str = ""
    bytes_stored: int = 0
    stages: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    _cpu_of_call: float = 0.0

    def begin_call(self) -> None:
        """A Generate call begins."""
        self._cpu_of_call = 0.0

    def add_frame(self, timings: StageSeconds) -> None:
        """A frame was rendered."""
        self.rendered += 1
        self.cpu_s += timings.cpu
        self._cpu_of_call += timings.cpu
        for stage in STAGES:
            self.stages[stage] += getattr(timings, stage)

    def add_call(self, totals: GenerateTotals) -> None:
        """A Generate call ended by itself; one that broke off leaves what its frames said."""
        # The workers' time includes what no frame has: opening the scene, compiling kernels.
        self.cpu_s += max(0.0, totals.cpu_s - self._cpu_of_call)
        self.idle_s += totals.idle_s
        self.fingerprint = totals.fingerprint or self.fingerprint

    def total(self) -> GenerationCost:
        """The figures so far."""
        return GenerationCost(
            rendered_frames=self.rendered,
            wall_s=self.wall_s,
            cpu_s=self.cpu_s,
            idle_s=self.idle_s,
            workers=self.workers,
            fingerprint=self.fingerprint,
            bytes_stored=self.bytes_stored,
            stages=dict(self.stages),
        )


def as_json(cost: GenerationCost) -> dict[str, object]:
    """Cost figures as plain data, as the manifest keeps them."""
    return {item.name: getattr(cost, item.name) for item in fields(cost)}


def cost_from_json(data: object) -> GenerationCost | None:
    """Cost figures that a manifest keeps; None when there are none that this version knows."""
    names = {item.name for item in fields(GenerationCost)}
    if not isinstance(data, dict) or not data or not names >= data.keys():
        return None
    return GenerationCost(**data)
