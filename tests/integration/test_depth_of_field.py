"""A lens blurs what is out of focus by its circle of confusion, and leaves the labels sharp."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simcloud.geometry import focal_px
from simcloud.spec.parameters import CameraView, FrameParameters, PlacedObject, RectLight
from simcloud_generator.backends.base import RenderedView
from simcloud_generator.backends.mitsuba.backend import MitsubaBackend
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings
from support import scenes

DISTANCE_M = 4.0
"""From the camera to the plate, whose upper edge runs through the middle of the picture."""


@pytest.fixture(scope="module")
def backend() -> MitsubaBackend:
    return MitsubaBackend(MitsubaSettings(variant="auto", spp=64, denoise=False))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = scenes.new_stage()
    scenes.add_library_asset(made, "plate", "plate")
    quad = scenes.add_quad(made, "/Library/plate/Body", half=2.0)
    scenes.bind(quad.GetPrim(), scenes.add_material(made, "/World/Looks/white", roughness=1.0))
    return scenes.save(made, tmp_path_factory.mktemp("lens"))


def render(
    backend: MitsubaBackend,
    stage: Path,
    *,
    f_stop: float | None = None,
    focus_distance_m: float | None = None,
) -> RenderedView:
    view = replace(
        scenes.camera((0.0, 0.0, DISTANCE_M)),
        exposure_ev=0.0,
        f_stop=f_stop,
        focus_distance_m=focus_distance_m,
    )
    light = RectLight(
        name="key",
        position_m=(0.0, 0.0, 8.0),
        orientation_wxyz=(1.0, 0.0, 0.0, 0.0),
        width_m=6.0,
        height_m=6.0,
        radiance_rgb=(4.0, 4.0, 4.0),
    )
    parameters = FrameParameters(
        frame=0,
        render_seed=3,
        objects=(PlacedObject(name="a", asset="plate", position_m=(0.0, -2.0, 0.0)),),
        rect_lights=(light,),
        cameras=(view,),
    )
    session = backend.open(stage)
    try:
        return session.render(parameters, ["rgb"])[0]
    finally:
        session.close()


def edge_px(view: RenderedView) -> float:
    """Rows over which the plate's edge comes up from dark to bright, by its integral."""
    rows = view.arrays["rgb"].astype(np.float64).mean(axis=(1, 2))
    return float((rows > 0.02 * rows.max()).sum() - (rows > 0.97 * rows.max()).sum())


def confusion_px(view: CameraView, f_stop: float, focus_m: float) -> float:
    """Diameter of the circle that a point of the plate is drawn as."""
    aperture_m = view.focal_length_mm * 1e-3 / f_stop
    return focal_px(view) * aperture_m * abs(focus_m - DISTANCE_M) / (DISTANCE_M * focus_m)


def test_what_is_in_focus_is_as_sharp_as_through_a_pinhole(
    backend: MitsubaBackend, stage: Path
) -> None:
    pinhole = render(backend, stage)
    focused = render(backend, stage, f_stop=0.5, focus_distance_m=DISTANCE_M)
    assert edge_px(pinhole) <= 1
    assert edge_px(focused) <= 1
    # Only the samples differ.
    difference = pinhole.arrays["rgb"].astype(int) - focused.arrays["rgb"].astype(int)
    assert np.abs(difference).mean() < 3


def test_the_blur_is_the_circle_of_confusion(backend: MitsubaBackend, stage: Path) -> None:
    near = render(backend, stage, f_stop=0.5, focus_distance_m=0.6)
    stopped_down = render(backend, stage, f_stop=4.0, focus_distance_m=0.6)

    expected = confusion_px(near.camera, 0.5, 0.6)
    assert expected > 4
    assert edge_px(near) == pytest.approx(expected, abs=2)
    assert edge_px(stopped_down) == pytest.approx(confusion_px(near.camera, 4.0, 0.6), abs=1.5)


def test_labels_are_those_of_the_sharp_picture(backend: MitsubaBackend, stage: Path) -> None:
    sharp = render(backend, stage)
    blurred = render(backend, stage, f_stop=0.5, focus_distance_m=0.6)
    for name in ("instance_segmentation", "distance_to_camera"):
        np.testing.assert_array_equal(blurred.arrays[name], sharp.arrays[name])
    assert blurred.objects == sharp.objects
