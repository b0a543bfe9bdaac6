"""AP by class and over all, precision and recall: what a model is worth on a run.

AP is COCO's: 101-point interpolated precision, by faster-coco-eval, in memory. Classes are the
model's labels that the counting rule names; detections of any other label are reported as a number
of their own (``other_detections``) and in ``precision_all_labels``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from simcloud.scoring.matching import SCORE_THRESHOLD, FrameMatch, Verdict, match_frame
from simcloud.scoring.types import ScoredFrame

_MAX_DETECTIONS = 100
"""Detections a picture and class that AP looks at, best first: COCO's own bound."""


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """One class. Ratios are 0 to 1, None when there is nothing to divide by."""

    label: str
    truths: int
    """Objects that count."""
    ignored: int
    """Objects too small or too hidden to count."""
    hits: int
    wrong: int
    ap: float | None
    """Mean over IoU .50 to .95 in steps of .05."""
    ap50: float | None
    precision: float | None
    recall: float | None


@dataclass(frozen=True, slots=True)
class Metrics:
    """All classes together; means are over classes that have objects."""

    frames: int
    truths: int
    ignored: int
    hits: int
    wrong: int
    """False positives among the classes that the scene labels."""
    other_detections: int
    """Detections, at the threshold, of labels that the scene doesn't label."""
    map: float | None
    map50: float | None
    precision: float | None
    recall: float | None
    precision_all_labels: float | None
    """With ``other_detections`` counted as wrong."""
    score_threshold: float
    classes: tuple[ClassMetrics, ...]

    def as_json(self) -> dict[str, object]:
        """Plain data for metrics.json."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Counts:
    truths: Counter[str]
    ignored: Counter[str]
    hits: Counter[str]
    wrong: Counter[str]


def evaluate(
    frames: Sequence[ScoredFrame],
    labels: Sequence[str],
    *,
    matches: Sequence[FrameMatch] | None = None,
) -> Metrics:
    """Metrics of some frames.

    Args:
        frames: with ground truth and every detection, low scores included.
        labels: the model's classes that the scene labels.
        matches: of the same frames, when they are there already.
    """
    matches = [match_frame(frame) for frame in frames] if matches is None else matches
    names = sorted(set(labels))
    counts = _count(frames, matches)
    ap = _average_precision(frames, names)
    classes = tuple(
        ClassMetrics(
            label=name,
            truths=counts.truths[name],
            ignored=counts.ignored[name],
            hits=counts.hits[name],
            wrong=counts.wrong[name],
            ap=ap[name][0],
            ap50=ap[name][1],
            precision=_ratio(counts.hits[name], counts.hits[name] + counts.wrong[name]),
            recall=_ratio(counts.hits[name], counts.truths[name]),
        )
        for name in names
    )
    return _over_all(frames, counts, classes)


def _over_all(
    frames: Sequence[ScoredFrame], counts: _Counts, classes: tuple[ClassMetrics, ...]
) -> Metrics:
    hits = sum(item.hits for item in classes)
    wrong = sum(item.wrong for item in classes)
    truths = sum(item.truths for item in classes)
    other = counts.wrong.total() - wrong
    return Metrics(
        frames=len(frames),
        truths=truths,
        ignored=sum(item.ignored for item in classes),
        hits=hits,
        wrong=wrong,
        other_detections=other,
        map=_mean([item.ap for item in classes]),
        map50=_mean([item.ap50 for item in classes]),
        precision=_ratio(hits, hits + wrong),
        recall=_ratio(hits, truths),
        precision_all_labels=_ratio(hits, hits + wrong + other),
        score_threshold=SCORE_THRESHOLD,
        classes=classes,
    )


def _count(frames: Sequence[ScoredFrame], matches: Sequence[FrameMatch]) -> _Counts:
    counts = _Counts(truths=Counter(), ignored=Counter(), hits=Counter(), wrong=Counter())
    for frame, found in zip(frames, matches, strict=True):
        for truth in frame.truths:
            (counts.truths if truth.counted else counts.ignored)[truth.label] += 1
        for match in found.matches:
            if match.verdict is Verdict.HIT:
                counts.hits[match.detection.label] += 1
            elif match.verdict is Verdict.WRONG:
                counts.wrong[match.detection.label] += 1
    return counts


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _average_precision(
    frames: Sequence[ScoredFrame], names: Sequence[str]
) -> dict[str, tuple[float | None, float | None]]:
    """AP and AP50 by class; None for a class without objects that count."""
    category = {name: number for number, name in enumerate(names, start=1)}
    truths = _truth_rows(frames, category)
    if not truths:
        return dict.fromkeys(names, (None, None))
    detections = _detection_rows(frames, category)
    precision = _precision(len(frames), truths, detections, category)
    result: dict[str, tuple[float | None, float | None]] = {}
    for index, name in enumerate(names):
        of_class = precision[:, :, index]
        # -1 stands where a class has no object that counts.
        known = of_class[of_class > -1]
        ap = float(known.mean()) if known.size else None
        result[name] = (ap, float(of_class[0].mean()) if known.size else None)
    return result


def _truth_rows(frames: Sequence[ScoredFrame], category: dict[str, int]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for image, frame in enumerate(frames, start=1):
        for truth in frame.truths:
            x_min, y_min, x_max, y_max = truth.box
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": image,
                    "category_id": category[truth.label],
                    "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
                    # COCO ignores objects outside the area range that is evaluated. `iscrowd`
                    # would too, but measures overlap otherwise (intersection over detection).
                    "area": 1.0 if truth.counted else 0.0,
                    "iscrowd": 0,
                }
            )
    return rows


def _detection_rows(
    frames: Sequence[ScoredFrame], category: dict[str, int]
) -> list[dict[str, object]]:
    return [
        {
            "image_id": image,
            "category_id": category[item.label],
            "bbox": [
                item.box[0],
                item.box[1],
                item.box[2] - item.box[0],
                item.box[3] - item.box[1],
            ],
            "score": item.score,
        }
        for image, frame in enumerate(frames, start=1)
        for item in frame.detections
        if item.label in category
    ]


def _precision(
    images: int,
    truths: list[dict[str, object]],
    detections: list[dict[str, object]],
    category: dict[str, int],
) -> np.ndarray[tuple[int, int, int], np.dtype[np.float64]]:
    """Precision by (IoU threshold, recall threshold, class); -1 where a class has no objects."""
    from faster_coco_eval import COCO, COCOeval_faster

    def quiet(*_: object) -> None:
        """The library reports its progress; the answer is enough."""

    truth = COCO(
        {
            "images": [{"id": image} for image in range(1, images + 1)],
            "categories": [{"id": number, "name": name} for name, number in category.items()],
            "annotations": truths,
        },
        print_function=quiet,
    )
    found = truth.loadRes(detections) if detections else None
    if found is None:
        with_objects = {row["category_id"] for row in truths if row["area"]}
        empty = np.zeros((10, 101, len(category)))
        for index, number in enumerate(category.values()):
            if number not in with_objects:
                empty[:, :, index] = -1
        return empty
    evaluation = COCOeval_faster(truth, found, "bbox", print_function=quiet)
    evaluation.params.areaRng = [[0.5, 1e12]]
    evaluation.params.areaRngLbl = ["all"]
    evaluation.params.maxDets = [_MAX_DETECTIONS]
    evaluation.params.catIds = list(category.values())
    evaluation.evaluate()
    evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"], dtype=np.float64)
    return precision.reshape(len(evaluation.params.iouThrs), -1, len(category))
