"""Which pictures a report shows."""

from __future__ import annotations

from collections.abc import Sequence

from simcloud.scoring.matching import FrameMatch, Verdict
from simcloud.scoring.types import ScoredFrame


def worst(frames: Sequence[ScoredFrame], matches: Sequence[FrameMatch], count: int) -> list[int]:
    """Positions of the frames with the largest missed objects, the worst first.

    A large object in plain view that was missed says more than ten small ones.
    """
    missed = [
        (sum(truth.visible_px or 0 for truth in match.missed), position)
        for position, match in enumerate(matches)
        if match.missed
    ]
    missed.sort(key=lambda item: (-item[0], frames[item[1]].key))
    return [position for _, position in missed[:count]]


def best(frames: Sequence[ScoredFrame], matches: Sequence[FrameMatch], count: int) -> list[int]:
    """Positions of the frames in which all was found and nothing wrong, most objects first.

    Where no frame is without a fault, those with the most hits less faults.
    """
    ranked = []
    for position, match in enumerate(matches):
        hits = match.count(Verdict.HIT)
        faults = len(match.missed) + match.count(Verdict.WRONG)
        if hits:
            ranked.append((faults > 0, -(hits - faults), frames[position].key, position))
    ranked.sort()
    return [position for *_, position in ranked[:count]]


def caption(match: FrameMatch) -> str:
    """What was found, missed and wrong in a picture, in words."""
    parts = [f"{match.count(Verdict.HIT)} found"]
    if match.missed:
        parts.append("missed " + ", ".join(sorted(truth.label for truth in match.missed)))
    wrong = sorted(item.detection.label for item in match.matches if item.verdict is Verdict.WRONG)
    if wrong:
        parts.append("wrong " + ", ".join(wrong))
    return "; ".join(parts)
