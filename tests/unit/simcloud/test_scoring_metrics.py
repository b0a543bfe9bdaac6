"""The counting rule, the matching and the figures made from it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simcloud.dataset.record import ObjectRecord
from simcloud.errors import Corruption
from simcloud.labels.boxes import box_iou
from simcloud.scoring.join import LabelledFrame, join, truths_of
from simcloud.scoring.matching import Verdict, match_frame
from simcloud.scoring.metrics import evaluate
from simcloud.scoring.slices import slice_by_parameters
from simcloud.scoring.types import Answer, Box, Detection, ScoredFrame, Truth
from simcloud.spec.plan import CountingRule

RULE = CountingRule(labels={"sofa": "couch", "seat": "chair"}, ignored_predictions=("rug",))


def _truth(label: str, box: Box, *, counted: bool = True) -> Truth:
    return Truth(label=label, box=box, counted=counted, name=label, visible_px=1000, occlusion=0.0)


def _detection(label: str, box: Box, score: float = 0.9) -> Detection:
    return Detection(label=label, class_id=1, score=score, box=box)


def _frame(
    truths: tuple[Truth, ...], detections: tuple[Detection, ...], index: int = 0
) -> ScoredFrame:
    return ScoredFrame(
        frame=index,
        camera="main",
        split="train",
        params={"light": float(index)},
        truths=truths,
        detections=detections,
    )


def _object(
    label: str, *, visible_px: int, amodal_px: int, box: tuple[int, int, int, int] | None
) -> ObjectRecord:
    return ObjectRecord(
        instance_id=2,
        name="it",
        asset="a",
        label=label,
        semantic_id=2,
        local2world=(1.0,) * 16,
        box3d_min_m=(0.0, 0.0, 0.0),
        box3d_max_m=(1.0, 1.0, 1.0),
        box2d_tight=box,
        box2d_loose=box,
        visible_px=visible_px,
        amodal_px=amodal_px,
        occlusion=1 - visible_px / amodal_px,
        truncation=0.0,
        distance_m=1.0,
    )


A: Box = (10.0, 10.0, 60.0, 60.0)
B: Box = (100.0, 10.0, 180.0, 90.0)


def test_perfect_predictions_have_an_ap_of_one() -> None:
    frames = [
        _frame(
            (_truth("couch", A), _truth("chair", B)),
            (_detection("couch", A), _detection("chair", B)),
            n,
        )
        for n in range(3)
    ]
    metrics = evaluate(frames, ["couch", "chair"])
    assert metrics.map == pytest.approx(1)
    assert metrics.map50 == pytest.approx(1)
    assert (metrics.precision, metrics.recall) == (1, 1)
    assert [item.label for item in metrics.classes] == ["chair", "couch"]


def test_without_any_prediction_ap_and_recall_are_zero_and_precision_is_unknown() -> None:
    metrics = evaluate([_frame((_truth("couch", A),), ())], ["couch", "chair"])
    assert (metrics.map50, metrics.recall, metrics.precision) == (0, 0, None)
    by_label = {item.label: item for item in metrics.classes}
    assert by_label["chair"].ap50 is None


def test_an_ignored_object_is_neither_missed_when_not_found_nor_wrong_when_found() -> None:
    ignored = _truth("couch", B, counted=False)
    found = _frame((_truth("couch", A), ignored), (_detection("couch", A), _detection("couch", B)))
    not_found = _frame((_truth("couch", A), ignored), (_detection("couch", A),))
    for frame in (found, not_found):
        metrics = evaluate([frame], ["couch"])
        assert metrics.map50 == pytest.approx(1)
        assert (metrics.precision, metrics.recall, metrics.ignored) == (1, 1, 1)


def test_a_class_of_ignored_objects_alone_has_no_ap() -> None:
    frame = _frame((_truth("couch", A, counted=False),), (_detection("couch", A),))
    metrics = evaluate([frame], ["couch"])
    assert metrics.map is None
    assert (metrics.hits, metrics.wrong, metrics.truths) == (0, 0, 0)


def test_a_second_detection_of_one_object_is_wrong() -> None:
    frame = _frame(
        (_truth("couch", A),), (_detection("couch", A, 0.9), _detection("couch", A, 0.8))
    )
    metrics = evaluate([frame], ["couch"])
    assert (metrics.hits, metrics.wrong) == (1, 1)
    # The duplicate comes after full recall is reached, so interpolated AP doesn't see it.
    assert metrics.map50 == pytest.approx(1)


def test_a_better_scored_false_detection_halves_ap() -> None:
    frame = _frame(
        (_truth("couch", A),), (_detection("couch", A, 0.6), _detection("couch", B, 0.9))
    )
    assert evaluate([frame], ["couch"]).map50 == pytest.approx(0.5)


def test_detections_below_the_threshold_count_for_ap_only() -> None:
    frame = _frame((_truth("couch", A),), (_detection("couch", A, 0.1),))
    metrics = evaluate([frame], ["couch"])
    assert metrics.map50 == pytest.approx(1)
    assert (metrics.hits, metrics.recall) == (0, 0)


def test_labels_the_scene_does_not_label_are_counted_apart() -> None:
    frame = _frame((_truth("couch", A),), (_detection("couch", A), _detection("dog", B)))
    metrics = evaluate([frame], ["couch"])
    assert (metrics.precision, metrics.other_detections) == (1, 1)
    assert metrics.precision_all_labels == 0.5


def test_a_counted_object_is_taken_before_an_ignored_one_that_overlaps_more() -> None:
    near: Box = (12.0, 10.0, 62.0, 60.0)
    frame = _frame(
        (_truth("couch", A, counted=False), _truth("couch", near)), (_detection("couch", A),)
    )
    (match,) = match_frame(frame).matches
    assert match.verdict is Verdict.HIT
    assert match.truth is not None
    assert match.truth.box == near


def test_ap_and_counts_match_over_threshold_of_overlap() -> None:
    half: Box = (10.0, 10.0, 35.0, 60.0)  # IoU exactly .5: enough at .5, not at .55 and above
    metrics = evaluate([_frame((_truth("couch", A),), (_detection("couch", half),))], ["couch"])
    assert metrics.map50 == pytest.approx(1)
    assert metrics.map == pytest.approx(0.1)
    assert metrics.hits == 1


@pytest.mark.parametrize(
    ("visible_px", "amodal_px", "counted"),
    [(800, 1600, True), (799, 1000, False), (1000, 2001, False), (1000, 2000, True)],
)
def test_an_object_counts_from_half_visible_and_800_pixels(
    visible_px: int, amodal_px: int, counted: bool
) -> None:
    item = _object("sofa", visible_px=visible_px, amodal_px=amodal_px, box=(0, 0, 40, 40))
    (truth,) = truths_of([item], RULE)
    assert (truth.label, truth.counted) == ("couch", counted)


def test_unnamed_labels_and_invisible_objects_are_no_ground_truth() -> None:
    lamp = _object("lamp", visible_px=2000, amodal_px=2000, box=(0, 0, 50, 40))
    hidden = _object("sofa", visible_px=0, amodal_px=2000, box=None)
    assert truths_of([lamp, hidden], RULE) == ()


def _answer(frame: int, *detections: Detection) -> Answer:
    return Answer(
        frame=frame,
        camera="main",
        code=0,
        reason="",
        message="",
        detections=detections,
        target="t",
        attempts=1,
        queue_s=0.0,
        fetch_s=0.0,
        target_s=0.0,
        total_s=0.0,
    )


def test_joining_drops_ignored_predictions_and_refuses_a_frame_without_an_answer() -> None:
    rows = [
        LabelledFrame(frame=n, camera="main", split="train", params={}, objects=()) for n in (0, 1)
    ]
    answers = {(0, "main"): _answer(0, _detection("rug", A), _detection("couch", B))}
    (joined,) = join(rows[:1], answers, RULE)
    assert [item.label for item in joined.detections] == ["couch"]
    with pytest.raises(Corruption, match=r"1 stored without an answer \[\(1, 'main'\)\]"):
        join(rows, answers, RULE)


def test_slices_show_where_recall_is_lost_and_leave_out_what_does_not_vary() -> None:
    frames = []
    for index in range(40):
        found = (_detection("couch", A),) if index >= 20 else ()
        frame = _frame((_truth("couch", A),), found, index)
        frames.append(
            replace(frame, params={"light": float(index), "floor": "oak", "odd": index % 2})
        )
    sliced = slice_by_parameters(frames, [match_frame(frame) for frame in frames], ["couch"])
    assert [item.parameter for item in sliced] == ["light", "odd"]
    light = sliced[0]
    assert [item.recall for item in light.slices] == [0, 0, 1, 1]
    assert [item.frames for item in light.slices] == [10, 10, 10, 10]
    assert light.spread == 1
    assert sliced[1].spread == 0


_BOXES = st.tuples(*[st.integers(0, 100)] * 2, *[st.integers(1, 100)] * 2).map(
    lambda v: (float(v[0]), float(v[1]), float(v[0] + v[2]), float(v[1] + v[3]))
)


@given(left=_BOXES, right=_BOXES)
@settings(max_examples=60)
def test_iou_is_symmetric_within_bounds_and_one_for_itself(left: Box, right: Box) -> None:
    assert box_iou(left, right) == box_iou(right, left)
    assert 0 <= box_iou(left, right) <= 1
    assert box_iou(left, left) == 1


@given(
    truths=st.lists(st.tuples(_BOXES, st.booleans()), max_size=6),
    found=st.lists(st.tuples(_BOXES, st.floats(0.36, 1)), max_size=6),
)
@settings(max_examples=60)
def test_every_counted_object_is_either_hit_once_or_missed(
    truths: list[tuple[Box, bool]], found: list[tuple[Box, float]]
) -> None:
    frame = _frame(
        tuple(_truth("couch", box, counted=counted) for box, counted in truths),
        tuple(_detection("couch", box, score) for box, score in found),
    )
    result = match_frame(frame)
    assert len(result.matches) == len(found)
    assert result.count(Verdict.HIT) + len(result.missed) == sum(c for _, c in truths)
