"""Whether two targets said the same: a shadow's answer beside the one that was given; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simcloud.labels.boxes import Extent, box_iou
from simcloud.oip.tensors import Tensor
from simcloud_inference_router.codecs.base import MalformedAnswer, TensorCodec
from simcloud_inference_router.model_options import Comparison
from simcloud_inference_router.targets.base import TargetAnswer

IOU = 0.5
"""Overlap from which on two boxes of one class are the same object (the 50 of AP50)."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison found."""

    agree: bool
    matched: int
    """Detections that both have, rows with the same best class, or numbers within tolerance."""
    missing: int
    """Only in the answer that was given; for classes and tensors, what differs."""
    extra: int = 0
    """Only in the shadow's."""


@dataclass(frozen=True, slots=True)
class Detection:
    """A box and its class."""

    label: str
    score: float
    xyxy_px: Extent


class Incomparable(Exception):
    """An answer has not the form that is compared; the message says what was found."""


def compare(
    answer: TargetAnswer,
    shadow: TargetAnswer,
    *,
    what: Comparison,
    tolerance: float,
    codec: TensorCodec | None,
) -> Compared:
    """Compares the answer that was given with a shadow's.

    JSON of pictures is read by the fields of the model container's answers: ``detections`` with
    ``label`` or ``class_id``, ``score`` and ``box_xyxy_px``; ``classifications`` with ``label`` or
    ``class_id`` and ``score``. Tensors by the model's codec: ``boxes`` (N, M, 4), ``scores`` and
    ``classes`` (N, M), ``count`` (N); for classes the first output, best along its last axis.

    Args:
        answer: what the caller got.
        shadow: what the shadow said.
        what: what is compared.
        tolerance: for tensors: of each number, absolute, or as a share of the answer's number.
        codec: the model's.

    Raises:
        Incomparable: one of them has not the form.
    """
    documents = _document(answer), _document(shadow)
    match what:
        case "detections":
            if None not in documents:
                return _all_pairs([[_detections(each)] for each in documents if each is not None])
            return _all_pairs([_tensor_detections(_tensors(a, codec)) for a in (answer, shadow)])
        case "classes":
            if None not in documents:
                best = [[_best_class(each)] for each in documents if each is not None]
            else:
                best = [_tensor_classes(_tensors(a, codec)) for a in (answer, shadow)]
            return _same(best[0], best[1])
        case "tensors":
            given, other = _tensors(answer, codec), _tensors(shadow, codec)
            return _close(given, other, tolerance)


def match_detections(given: Sequence[Detection], other: Sequence[Detection]) -> int:
    """Pairs of the same class that overlap by ``IOU``: greedily, the best scores first."""
    free = sorted(other, key=lambda each: -each.score)
    matched = 0
    for detection in sorted(given, key=lambda each: -each.score):
        best, best_iou = -1, IOU
        for index, candidate in enumerate(free):
            if candidate.label != detection.label:
                continue
            iou = box_iou(detection.xyxy_px, candidate.xyxy_px)
            if iou >= best_iou:
                best, best_iou = index, iou
        if best >= 0:
            del free[best]
            matched += 1
    return matched


def _all_pairs(sides: Sequence[Sequence[Sequence[Detection]]]) -> Compared:
    given, other = sides
    if len(given) != len(other):
        raise Incomparable(f"batches of {len(given)} and {len(other)}")
    matched = missing = extra = 0
    for one, two in zip(given, other, strict=True):
        found = match_detections(one, two)
        matched += found
        missing += len(one) - found
        extra += len(two) - found
    return Compared(not missing and not extra, matched, missing, extra)


def _same(given: Sequence[str], other: Sequence[str]) -> Compared:
    if len(given) != len(other):
        raise Incomparable(f"batches of {len(given)} and {len(other)}")
    matched = sum(one == two for one, two in zip(given, other, strict=True))
    return Compared(matched == len(given), matched, len(given) - matched)


def _close(given: Mapping[str, Tensor], other: Mapping[str, Tensor], tolerance: float) -> Compared:
    matched = total = 0
    if given.keys() != other.keys():
        raise Incomparable(f"outputs {', '.join(given)} and {', '.join(other)}")
    for name, tensor in given.items():
        twin = other[name]
        if (tensor.datatype, tensor.shape) != (twin.datatype, twin.shape):
            raise Incomparable(
                f"output {name}: {tensor.datatype}{list(tensor.shape)} and "
                f"{twin.datatype}{list(twin.shape)}"
            )
        one, two = tensor.array(), twin.array()
        if one.dtype.kind == "f":
            same = np.isclose(
                two.astype(np.float64),
                one.astype(np.float64),
                rtol=tolerance,
                atol=tolerance,
                equal_nan=True,
            )
        else:
            same = one == two
        matched += int(np.count_nonzero(same))
        total += one.size
    return Compared(matched == total, matched, total - matched)


def _document(answer: TargetAnswer) -> Mapping[str, object] | None:
    """The JSON of a picture's answer; None when the answer is tensors."""
    if not answer.content_type.startswith("application/json"):
        return None
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError) as exc:
        raise Incomparable(f"no JSON: {exc}") from exc
    # JSON v2 has tensors.
    return found if isinstance(found, dict) and "outputs" not in found else None


def _tensors(answer: TargetAnswer, codec: TensorCodec | None) -> dict[str, Tensor]:
    if codec is None:
        raise Incomparable(f"neither tensors nor a JSON object: {answer.content_type}")
    try:
        outputs = codec.decode(answer.body, answer.content_type).outputs
    except MalformedAnswer as exc:
        raise Incomparable(str(exc)) from exc
    return {tensor.name: tensor for tensor in outputs}


def _detections(document: Mapping[str, object]) -> list[Detection]:
    rows = document.get("detections")
    if not isinstance(rows, list):
        raise Incomparable(f"no list `detections`; found: {', '.join(document)}")
    found: list[Detection] = []
    try:
        for row in rows:
            x_min, y_min, x_max, y_max = row["box_xyxy_px"]
            box = float(x_min), float(y_min), float(x_max), float(y_max)
            found.append(Detection(_label(row), float(row.get("score", 0.0)), box))
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise Incomparable(f"a detection without label or box: {exc!r}") from exc
    return found


def _best_class(document: Mapping[str, object]) -> str:
    rows = document.get("classifications")
    if not isinstance(rows, list) or not rows:
        raise Incomparable(f"no list `classifications`; found: {', '.join(document)}")
    try:
        scores = [float(row["score"]) for row in rows]
        return _label(rows[scores.index(max(scores))])
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise Incomparable(f"a classification without label or score: {exc!r}") from exc


def _label(row: Mapping[str, object]) -> str:
    label = row.get("label", row.get("class_id"))
    if label is None:
        raise KeyError("label")
    return str(label)


def _tensor_detections(tensors: Mapping[str, Tensor]) -> list[list[Detection]]:
    try:
        boxes, scores = tensors["boxes"].array(), tensors["scores"].array()
        classes, counts = tensors["classes"].array(), tensors["count"].array()
    except KeyError as exc:
        raise Incomparable(f"no output {exc}; found: {', '.join(tensors)}") from exc
    found: list[list[Detection]] = []
    for index, count in enumerate(counts.ravel().tolist()):
        rows = zip(
            classes[index, :count].tolist(),
            scores[index, :count].tolist(),
            boxes[index, :count].tolist(),
            strict=True,
        )
        found.append([Detection(str(k), score, (b[0], b[1], b[2], b[3])) for k, score, b in rows])
    return found


def _tensor_classes(tensors: Mapping[str, Tensor]) -> list[str]:
    if not tensors:
        raise Incomparable("no outputs")
    first = next(iter(tensors.values())).array()
    if first.dtype.kind not in "fiu" or not first.size:
        raise Incomparable(f"the first output is {first.dtype}{list(first.shape)}")
    return [str(each) for each in np.atleast_1d(first.argmax(axis=-1)).ravel().tolist()]
