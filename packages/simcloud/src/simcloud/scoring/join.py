"""Predictions joined with the labels by frame key, under the plan's counting rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from simcloud.dataset.record import ObjectRecord
from simcloud.errors import Corruption
from simcloud.scoring.types import Answer, FrameKey, ScoredFrame, Truth
from simcloud.spec.parameters import Scalar
from simcloud.spec.plan import CountingRule


@dataclass(frozen=True, slots=True)
class LabelledFrame:
    """What scoring needs of an index row; quarantined frames have none."""

    frame: int
    camera: str
    split: str
    params: dict[str, Scalar]
    objects: tuple[ObjectRecord, ...]

    @property
    def key(self) -> FrameKey:
        """Frame index and camera."""
        return (self.frame, self.camera)


def truths_of(objects: Iterable[ObjectRecord], rule: CountingRule) -> tuple[Truth, ...]:
    """The ground truth among a frame's objects.

    That is what has a label that the rule names and is visible at all; the rule's bounds say
    whether it counts.
    """
    result = []
    for item in objects:
        label = rule.labels.get(item.label)
        if label is None or item.box2d_tight is None:
            continue
        x_min, y_min, x_max, y_max = item.box2d_tight
        result.append(
            Truth(
                label=label,
                box=(float(x_min), float(y_min), float(x_max), float(y_max)),
                counted=_counts(item, rule),
                name=item.name,
                visible_px=item.visible_px,
                occlusion=item.occlusion,
            )
        )
    return tuple(result)


def _counts(item: ObjectRecord, rule: CountingRule) -> bool:
    if item.ignored:
        return False
    if item.visible_px is None:
        return True  # a box alone: the bounds ask for what nobody knows
    # Integers, so that exactly half visible counts whatever a float makes of 1 - occlusion.
    amodal_px = item.visible_px if item.amodal_px is None else item.amodal_px
    return (
        item.visible_px >= rule.min_visible_fraction * amodal_px
        and item.visible_px >= rule.min_visible_px
    )


def join(
    labelled: Sequence[LabelledFrame], answers: Mapping[FrameKey, Answer], rule: CountingRule
) -> list[ScoredFrame]:
    """Every stored frame with its answer, in the order of the labelled frames.

    Raises:
        Corruption: a frame has no answer, or an answer has no frame: scored = stored is broken.
    """
    keys = {frame.key for frame in labelled}
    missing = sorted(keys - answers.keys())
    extra = sorted(answers.keys() - keys)
    if missing or extra:
        raise Corruption(
            f"predictions and labels name different frames: {len(missing)} stored without an "
            f"answer {missing[:5]}, {len(extra)} answered but not stored {extra[:5]}"
        )
    ignored = set(rule.ignored_predictions)
    return [
        ScoredFrame(
            frame=frame.frame,
            camera=frame.camera,
            split=frame.split,
            params=frame.params,
            truths=truths_of(frame.objects, rule),
            detections=tuple(
                item for item in answers[frame.key].detections if item.label not in ignored
            ),
        )
        for frame in labelled
    ]
