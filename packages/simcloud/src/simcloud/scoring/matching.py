"""Which detection found which object: greedy by score, as COCO's evaluation does it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from simcloud.labels.boxes import box_iou
from simcloud.scoring.types import Detection, ScoredFrame, Truth

IOU_THRESHOLD = 0.5
"""A detection finds an object from this overlap on (the 50 of AP50)."""
SCORE_THRESHOLD = 0.35
"""Detections below it are no statement: precision, recall and pictures leave them out. It is
NanoDet's own default; AP looks at every score."""


class Verdict(StrEnum):
    """What a detection is."""

    HIT = "hit"
    """It found an object that counts."""
    WRONG = "wrong"
    """It found nothing: a false positive."""
    IGNORED = "ignored"
    """It found an object that doesn't count."""


@dataclass(frozen=True, slots=True)
class Match:
    """The verdict on one detection."""

    detection: Detection
    verdict: Verdict
    truth: Truth | None
    iou: float


@dataclass(frozen=True, slots=True)
class FrameMatch:
    """The verdicts on a frame, and what nobody found."""

    matches: tuple[Match, ...]
    missed: tuple[Truth, ...]
    """Counted objects without a detection."""

    def count(self, verdict: Verdict) -> int:
        """Number of detections with a verdict."""
        return sum(match.verdict is verdict for match in self.matches)


def match_frame(
    frame: ScoredFrame,
    *,
    score_threshold: float = SCORE_THRESHOLD,
    iou_threshold: float = IOU_THRESHOLD,
) -> FrameMatch:
    """Matches detections to objects of the same label, best score first.

    Each takes the counted object it overlaps most, if that is enough and the object is free; else
    an ignored one; a second detection of one object is wrong.
    """
    free = list(frame.truths)
    matches = []
    for detection in _by_score(frame.detections):
        if detection.score < score_threshold:
            break
        truth, overlap = _best(detection, free, iou_threshold)
        if truth is not None:
            free.remove(truth)
        matches.append(
            Match(detection=detection, verdict=_verdict(truth), truth=truth, iou=overlap)
        )
    missed = tuple(truth for truth in free if truth.counted)
    return FrameMatch(matches=tuple(matches), missed=missed)


def _by_score(detections: Iterable[Detection]) -> list[Detection]:
    return sorted(detections, key=lambda detection: -detection.score)


def _verdict(truth: Truth | None) -> Verdict:
    if truth is None:
        return Verdict.WRONG
    return Verdict.HIT if truth.counted else Verdict.IGNORED


def _best(
    detection: Detection, free: list[Truth], iou_threshold: float
) -> tuple[Truth | None, float]:
    best: Truth | None = None
    best_rank = (False, 0.0)
    for truth in free:
        if truth.label != detection.label:
            continue
        overlap = box_iou(truth.box, detection.box)
        # A counted object is taken before an ignored one, however much that overlaps.
        if overlap >= iou_threshold and (truth.counted, overlap) > best_rank:
            best, best_rank = truth, (truth.counted, overlap)
    return best, best_rank[1]
