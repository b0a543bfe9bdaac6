"""Metrics by the parameters that made the frame: where a model is weak, and why it may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from simcloud.scoring.matching import FrameMatch
from simcloud.scoring.metrics import evaluate
from simcloud.scoring.types import ScoredFrame
from simcloud.spec.parameters import Scalar

QUANTILES = 4
MAX_CATEGORIES = 12
MAX_PARAMETERS = 16
"""A report shows the parameters that matter most, not all of a hundred."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Some frames that are alike in one parameter."""

    name: str
    """The value, or the range ``low to high``."""
    frames: int
    truths: int
    recall: float | None
    precision: float | None
    map50: float | None


@dataclass(frozen=True, slots=True)
class Sliced:
    """One parameter and its slices."""

    parameter: str
    slices: tuple[Slice, ...]

    @property
    def spread(self) -> float:
        """Largest minus smallest recall: how much the parameter seems to matter."""
        recalls = [item.recall for item in self.slices if item.recall is not None]
        return max(recalls) - min(recalls) if recalls else 0.0

    def as_json(self) -> dict[str, object]:
        """Plain data for metrics.json."""
        return {**asdict(self), "spread": self.spread}


def slice_by_parameters(
    frames: Sequence[ScoredFrame], matches: Sequence[FrameMatch], labels: Sequence[str]
) -> list[Sliced]:
    """Slices of the parameters that vary, the largest spread of recall first.

    Numbers are cut at quartiles; what has at most twelve values, at each value. A parameter of one
    value, or of more texts than that, says nothing and is left out.
    """
    names = sorted({name for frame in frames for name in frame.params})
    cuts = {name: _groups([frame.params.get(name) for frame in frames]) for name in names}
    # AP is worked out for the parameters that are shown only: it is the dear part.
    varying = [name for name in names if len(cuts[name]) > 1]
    varying.sort(key=lambda name: (-_spread(cuts[name], frames, matches), name))
    return [
        Sliced(
            parameter=name,
            slices=tuple(
                _slice(label, rows, frames, matches, labels) for label, rows in cuts[name].items()
            ),
        )
        for name in varying[:MAX_PARAMETERS]
    ]


def _spread(
    groups: dict[str, list[int]], frames: Sequence[ScoredFrame], matches: Sequence[FrameMatch]
) -> float:
    recalls = []
    for rows in groups.values():
        truths = sum(truth.counted for row in rows for truth in frames[row].truths)
        if truths:
            recalls.append(1 - sum(len(matches[row].missed) for row in rows) / truths)
    return max(recalls) - min(recalls) if recalls else 0.0


def _slice(
    label: str,
    rows: Sequence[int],
    frames: Sequence[ScoredFrame],
    matches: Sequence[FrameMatch],
    labels: Sequence[str],
) -> Slice:
    metrics = evaluate(
        [frames[row] for row in rows], labels, matches=[matches[row] for row in rows]
    )
    return Slice(
        name=label,
        frames=metrics.frames,
        truths=metrics.truths,
        recall=metrics.recall,
        precision=metrics.precision,
        map50=metrics.map50,
    )


def _groups(values: Sequence[Scalar | None]) -> dict[str, list[int]]:
    """Row numbers by slice, in the order in which the slices are shown."""
    known = [(row, value) for row, value in enumerate(values) if value is not None]
    distinct = {value for _, value in known}
    if len(distinct) <= MAX_CATEGORIES:
        return {
            _shown(value): [row for row, other in known if other == value]
            for value in sorted(distinct, key=lambda item: (isinstance(item, str), item))
        }
    if any(isinstance(value, str) for value in distinct):
        return {}
    numbers = np.array([float(value) for _, value in known])
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, QUANTILES + 1)))
    # The largest value belongs to the last range, so the last edge is no border.
    bins = np.searchsorted(edges[1:-1], numbers, side="right")
    return {
        f"{edges[index]:.4g} to {edges[index + 1]:.4g}": [
            row for (row, _), where in zip(known, bins, strict=True) if where == index
        ]
        for index in range(len(edges) - 1)
    }


def _shown(value: Scalar) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
