"""Label QA is a gate: a frame whose labels contradict each other is kept, but never as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from simcloud.dataset.record import record_from_json
from simcloud.labels.objects import ObjectLabel
from simcloud.scene.catalog import read_catalog
from simcloud.spec.canonical import canonical_json, digest
from simcloud.spec.parameters import FrameParameters
from simcloud.spec.sample import sample
from simcloud_generator.backends.base import RenderedView, Session
from simcloud_generator.backends.mitsuba.backend import MitsubaBackend
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings
from simcloud_generator.frame import FrameMaker, Stopwatch
from support.generating import SCENE, showroom

STAGE = SCENE / "stage.usda"
Fault = Callable[[RenderedView], RenderedView]


@dataclass
class Faulty:
    """A real session, one of whose labels is spoiled on the way."""

    real: Session
    fault: Fault
    renders: int = 0

    @property
    def id_to_label(self) -> Mapping[int, str]:
        return self.real.id_to_label

    @property
    def unsupported(self) -> Sequence[str]:
        return self.real.unsupported

    def render(self, parameters: FrameParameters, annotators: Sequence[str]) -> list[RenderedView]:
        self.renders += 1
        return [self.fault(view) for view in self.real.render(parameters, annotators)]

    def close(self) -> None:
        self.real.close()


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    kernels = tmp_path_factory.getbasetemp().parent / "kernels"
    settings = MitsubaSettings(variant="auto", threads=2, kernel_cache=Path(kernels))
    return MitsubaBackend(settings).open(STAGE)


def first_visible(view: RenderedView) -> ObjectLabel:
    whole = [item for item in view.objects if item.asset and item.truncation == 0.0]
    return max(whole, key=lambda item: item.visible_px)


def with_object(view: RenderedView, spoiled: ObjectLabel) -> RenderedView:
    objects = tuple(
        spoiled if item.instance_id == spoiled.instance_id else item for item in view.objects
    )
    return replace(view, objects=objects)


def with_array(view: RenderedView, name: str, array: np.ndarray) -> RenderedView:
    return replace(view, arrays={**view.arrays, name: array})


def shifted_box(view: RenderedView) -> RenderedView:
    item = first_visible(view)
    assert item.box2d_tight is not None
    x_min, y_min, x_max, y_max = item.box2d_tight
    return with_object(view, replace(item, box2d_tight=(x_min + 1, y_min, x_max, y_max)))


def lost_mask(view: RenderedView) -> RenderedView:
    ids = view.arrays["instance_segmentation"].copy()
    ids[ids == first_visible(view).instance_id] = 1
    return with_array(view, "instance_segmentation", ids)


def foreign_id(view: RenderedView) -> RenderedView:
    ids = view.arrays["instance_segmentation"].copy()
    ids[0, 0] = 999
    return with_array(view, "instance_segmentation", ids)


def scaled_depth(view: RenderedView) -> RenderedView:
    name = "distance_to_image_plane"
    return with_array(view, name, view.arrays[name] * np.float32(1.001))


def wrong_occlusion(view: RenderedView) -> RenderedView:
    item = first_visible(view)
    return with_object(view, replace(item, occlusion=min(1.0, item.occlusion + 0.5)))


def moved_box3d(view: RenderedView) -> RenderedView:
    item = first_visible(view)
    low, high = item.box3d_min, item.box3d_max
    tall = (low[0], low[1], low[2] + 0.5 * (high[2] - low[2]))
    return with_object(view, replace(item, box3d_min=tall))


def maker(session: Session, *, stochastic: bool) -> FrameMaker:
    spec = showroom()
    return FrameMaker(
        spec=spec,
        spec_digest=digest(canonical_json(spec)),
        fingerprint="0" * 16,
        session=session,
        stochastic=stochastic,
    )


@pytest.fixture(scope="module")
def parameters() -> FrameParameters:
    return sample(showroom(), read_catalog(STAGE), 0)


@pytest.mark.parametrize(
    "fault", [shifted_box, lost_mask, foreign_id, scaled_depth, wrong_occlusion, moved_box3d]
)
def test_a_fault_in_the_labels_quarantines_the_frame(
    session: Session, parameters: FrameParameters, fault: Fault
) -> None:
    faulty = Faulty(session, fault)
    views, reason = maker(faulty, stochastic=False).make(parameters, "train", Stopwatch())
    assert reason is not None
    assert faulty.renders == 1
    (view,) = views
    assert view.layers == ()
    record = record_from_json(view.record)
    assert record.quarantine == reason
    assert record.layers == ()
    assert record.params == parameters.values


def test_a_stochastic_renderer_gets_a_second_chance(
    session: Session, parameters: FrameParameters
) -> None:
    seen: list[int] = []

    def once(view: RenderedView) -> RenderedView:
        seen.append(1)
        return shifted_box(view) if len(seen) == 1 else view

    faulty = Faulty(session, once)
    views, reason = maker(faulty, stochastic=True).make(parameters, "train", Stopwatch())
    assert (faulty.renders, reason) == (2, None)
    assert views[0].layers


def test_good_labels_pass(session: Session, parameters: FrameParameters) -> None:
    make = partial(maker(session, stochastic=False).make, parameters, "val", Stopwatch())
    (view,), reason = make()
    assert reason is None
    record = record_from_json(view.record)
    assert (record.split, record.quarantine) == ("val", None)
    assert len(record.layers) == len(view.layers) == 4
