"""The report: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jinja2 import Environment, PackageLoader, StrictUndefined

from simcloud.report.costs import CostEstimate
from simcloud.report.howto import Recipe
from simcloud.scoring.metrics import Metrics
from simcloud.scoring.slices import Sliced


@dataclass(frozen=True, slots=True)
class Accounting:
    """Counts of distinct frame keys, from S3."""

    planned: int
    stored: int
    quarantined: int
    scored: int
    quarantined_by_rule: Mapping[str, int] = field(default_factory=dict)
    """Quarantined frame keys by the rule that they broke."""

    @property
    def balanced(self) -> bool:
        """Planned = stored + quarantined, and scored = stored."""
        return self.planned == self.stored + self.quarantined and self.scored == self.stored


@dataclass(frozen=True, slots=True)
class StageTime:
    """Wall-clock time of one stage of the generator, over all frames."""

    name: str
    total_s: float
    per_frame_s: float


@dataclass(frozen=True, slots=True)
class Performance:
    """Cost figures of a run, not accounting; None where a resumed run has none."""

    images_per_s: float | None
    wall_s: float | None
    bytes_stored: int
    bytes_per_frame: float | None
    idle_share: float | None
    """Share of the workers' time in which none of them rendered."""
    cpu_s: float | None
    stages: tuple[StageTime, ...]
    score_images_per_s: float | None
    cost: CostEstimate | None


@dataclass(frozen=True, slots=True)
class PictureCard:
    """One picture with boxes."""

    title: str
    caption: str
    data_uri: str


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything that a report shows."""

    run: str
    uri: str
    model: str
    """`<model>@<digest>`."""
    created: str
    """Time of writing, ISO 8601, UTC."""
    accounting: Accounting
    metrics: Metrics
    slices: Sequence[Sliced]
    performance: Performance
    best: Sequence[PictureCard]
    worst: Sequence[PictureCard]
    provenance: Mapping[str, str]
    recipes: Sequence[Recipe]


def render(data: ReportData) -> str:
    """The report as HTML: styles, figures and pictures inline; no script, no foreign address."""
    environment = Environment(
        loader=PackageLoader("simcloud.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["ratio"] = _ratio
    environment.filters["percent"] = _percent
    environment.filters["size"] = _size
    environment.filters["number"] = _number
    return environment.get_template("report.html.j2").render(data=data)


_NOTHING = "-"


def _ratio(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return _NOTHING if value is None else f"{100 * value:.1f} %"


def _number(value: float | None, digits: int = 2) -> str:
    return _NOTHING if value is None else f"{value:,.{digits}f}"


def _size(count: float | None) -> str:
    if count is None:
        return _NOTHING
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
