"""A camera's sensor reaches the stored picture, and its values the record."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from simcloud.annotators import Encoding
from simcloud.dataset.encode import decode
from simcloud.dataset.frames import EncodedFrame
from simcloud.scene.catalog import read_catalog
from simcloud.spec.model import Spec
from simcloud.spec.sample import sample
from simcloud_generator.backends.mitsuba.backend import MitsubaBackend
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings
from simcloud_generator.frame import FrameMaker, Stopwatch
from simcloud_generator.sensor.effects import apply_sensor
from support import scenes

SENSOR = {
    "vignetting": 0.3,
    "full_well_electrons": {"log_uniform": [800, 1200]},
    "read_noise_electrons": 3,
    "jpeg_quality": {"integer": [70, 90]},
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = scenes.new_stage()
    scenes.add_cube(made, "/World/Box", size=1.0, label="box")
    return scenes.save(made, tmp_path_factory.mktemp("sensor"))


def spec_with(sensor: dict[str, object] | None) -> Spec:
    return Spec.model_validate(
        {
            "seed": 4,
            "scene": {"root": "stage.usda"},
            "annotators": ["rgb", "instance_segmentation"],
            "cameras": [
                {
                    "name": "main",
                    "width_px": 48,
                    "height_px": 32,
                    "placement": {"kind": "look_at", "eye": [1, -2, 1.5], "target": [0, 0, 0]},
                    "sensor": sensor,
                }
            ],
            "randomization": {
                "rect_lights": [
                    {
                        "name": "key",
                        "position_m": [0, -1, 3],
                        "width_m": 2,
                        "height_m": 2,
                        "radiance": 8,
                    }
                ]
            },
        }
    )


def frame_of(backend: MitsubaBackend, stage: Path, spec: Spec, frame: int) -> EncodedFrame:
    session = backend.open(stage)
    maker = FrameMaker(
        spec=spec, spec_digest="0" * 64, fingerprint="f", session=session, stochastic=False
    )
    try:
        views, reason = maker.make(sample(spec, read_catalog(stage), frame), "train", Stopwatch())
    finally:
        session.close()
    assert not reason
    return views[0]


def test_the_stored_picture_is_the_sensor_s_and_labels_are_untouched(stage: Path) -> None:
    backend = MitsubaBackend(MitsubaSettings(variant="auto", spp=2, denoise=False))
    plain = frame_of(backend, stage, spec_with(None), 2)
    sensed = frame_of(backend, stage, spec_with(SENSOR), 2)
    again = frame_of(backend, stage, spec_with(SENSOR), 2)

    (view,) = sample(spec_with(SENSOR), read_catalog(stage), 2).cameras
    assert view.sensor is not None
    expected = apply_sensor(decode(plain.layers[0].data, Encoding.PNG), view.sensor)
    np.testing.assert_array_equal(decode(sensed.layers[0].data, Encoding.PNG), expected)
    assert sensed == again
    assert sensed.layers[1] == plain.layers[1]
    params = json.loads(sensed.record)["params"]
    assert params["camera.main.sensor.jpeg_quality"] == view.sensor.jpeg_quality
    assert params["camera.main.sensor.full_well_electrons"] == view.sensor.full_well_electrons
