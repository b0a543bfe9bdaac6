"""Frames of the bins scene: settled, counted, occluded, and clean at the label gate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import yaml

from simcloud.labels.qa import check_view
from simcloud.scene.catalog import Catalog, read_catalog
from simcloud.spec.model import Spec
from simcloud.spec.parameters import FrameParameters
from simcloud.spec.sample import sample
from simcloud_generator.backends.base import RenderedView, Session
from simcloud_generator.backends.mitsuba.backend import MitsubaBackend
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings
from simcloud_generator.settling.settler import Settler
from support.scene_builders import SCENES

STAGE = SCENES / "bins" / "stage.usda"
SPEC = Spec.model_validate(yaml.safe_load((STAGE.parent / "spec.yaml").read_text("utf-8")))
FRAMES = range(10)
SIZE_PX = 128


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return read_catalog(STAGE)


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    settings = MitsubaSettings(variant="auto", spp=1, max_depth=2, denoise=False)
    opened = MitsubaBackend(settings).open(STAGE)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def settled(catalog: Catalog) -> list[FrameParameters]:
    settler = Settler(STAGE)
    frames = []
    for number in FRAMES:
        parameters = settler.settle(sample(SPEC, catalog, number))
        (camera,) = parameters.cameras
        camera = replace(camera, width=SIZE_PX, height=SIZE_PX)
        frames.append(replace(parameters, cameras=(camera,)))
    return frames


@pytest.fixture(scope="module")
def views(session: Session, settled: list[FrameParameters]) -> list[RenderedView]:
    annotators = [name for name in SPEC.annotators if name != "rgb"]
    return [session.render(parameters, annotators)[0] for parameters in settled]


def items_of(parameters: FrameParameters) -> list[str]:
    return [item.name for item in parameters.objects if item.group == "item"]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_pictures_pass_the_label_gate(
    session: Session, settled: list[FrameParameters], number: int
) -> None:
    annotators = [*SPEC.annotators, "distance_to_image_plane"]
    (view,) = session.render(settled[number], annotators)

    assert session.unsupported == ()
    assert check_view(view.camera, view.arrays, view.objects) == []
    assert view.arrays["rgb"].std() > 10.0


def test_labels_of_every_frame_agree(views: list[RenderedView]) -> None:
    assert [check_view(view.camera, view.arrays, view.objects) for view in views] == [[]] * len(
        views
    )


def test_the_count_is_what_lies_in_the_bin(
    settled: list[FrameParameters], views: list[RenderedView]
) -> None:
    for parameters, view in zip(settled, views, strict=True):
        assert parameters.values["objects.item.count"] == len(items_of(parameters))
        assert sorted(item.name for item in view.objects) == sorted(items_of(parameters))
        for item in parameters.objects:
            x, y, z = item.position_m
            assert item.group == "bin" or (abs(x) < 0.25 and abs(y) < 0.2 and -0.01 < z < 0.6)


def test_counts_differ_and_few_items_find_no_place(settled: list[FrameParameters]) -> None:
    counts = {len(items_of(parameters)) for parameters in settled}
    lost = sum(int(p.values["objects.item.dropped_out"]) for p in settled)
    kept = sum(len(items_of(parameters)) for parameters in settled)

    assert len(counts) >= 5
    assert lost <= 0.1 * (lost + kept)


def test_items_hide_each_other_and_straps_hide_them(views: list[RenderedView]) -> None:
    partly = [
        any(0.2 < item.occlusion < 0.8 for item in view.objects) for view in views if view.objects
    ]
    shares = [item.occlusion for view in views for item in view.objects]

    assert sum(partly) >= 0.6 * len(partly)
    assert sum(0.2 < share < 0.8 for share in shares) >= 0.25 * len(shares)
