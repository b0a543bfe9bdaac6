"""Spheres, disks and parallel light: from the spec to what renderers read."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from simcloud.spec.draws import Draws
from simcloud.spec.kinds import power_of_two, to_float32
from simcloud.spec.light_model import Dome
from simcloud.spec.model import Randomization
from simcloud.spec.parameters import DiskLight, DistantLight, ShapeLight, SphereLight
from simcloud.spec.sample_lights import sample_lights, sample_rect_lights

BULB: dict[str, Any] = {
    "kind": "sphere",
    "name": "bulb",
    "position_m": [{"uniform": [-1, 1]}, 0, 2],
    "radius_m": 0.05,
    "radiance": 100,
}
SUN: dict[str, Any] = {
    "kind": "distant",
    "name": "sun",
    "azimuth_deg": 90,
    "elevation_deg": 30,
    "irradiance": 3,
}
SPOT: dict[str, Any] = {
    "kind": "disk",
    "name": "spot",
    "radius_m": 0.2,
    "radiance": 10,
    "position_m": [0, 0, 3],
}


def drawn(*lights: dict[str, Any], frame: int = 0) -> tuple[ShapeLight, ...]:
    part = Randomization.model_validate({"lights": list(lights)})
    return sample_lights(part.lights, Draws(1, frame))


def test_every_shape_is_drawn() -> None:
    bulb, sun, spot = drawn(BULB, SUN, SPOT)
    assert isinstance(bulb, SphereLight)
    assert -1 <= bulb.position_m[0] <= 1
    assert bulb.radius_m == 0.05 or bulb.radius_m == to_float32(0.05)
    assert bulb.radiance_rgb == pytest.approx((100, 100, 100), rel=1e-5)
    assert isinstance(sun, DistantLight)
    # it stands at +X, 30 degrees above the horizon, and shines towards -X and down
    assert sun.direction == pytest.approx((-(0.75**0.5), 0.0, -0.5), abs=1e-6)
    assert isinstance(spot, DiskLight)
    assert spot.orientation_wxyz == (1.0, 0.0, 0.0, 0.0)


def test_a_tint_is_a_filter_on_the_colour() -> None:
    warm = BULB | {"temperature_k": 3000}
    [plain] = drawn(warm)
    [filtered] = drawn(warm | {"tint": [1, 0.5, 0]})
    assert isinstance(plain, SphereLight)
    assert isinstance(filtered, SphereLight)
    red, green, _ = plain.radiance_rgb
    assert filtered.radiance_rgb == pytest.approx((red, green / 2, 0), rel=1e-6)
    part = Randomization.model_validate(
        {
            "rect_lights": [
                {
                    "name": "panel",
                    "position_m": [0, 0, 2],
                    "width_m": 1,
                    "height_m": 1,
                    "radiance": 2,
                    "tint": [0, 1, 0],
                }
            ]
        }
    )
    [panel] = sample_rect_lights(part.rect_lights, Draws(1, 0))
    assert panel.radiance_rgb == pytest.approx((0, 2, 0), rel=1e-5)


def test_a_disk_in_orbit_stands_there() -> None:
    orbit = {"target": [0, 0, 1], "distance_m": 2, "azimuth_deg": 0, "elevation_deg": 0}
    [spot] = drawn({**SPOT, "position_m": None, "orbit": orbit})
    assert isinstance(spot, DiskLight)
    assert spot.position_m == pytest.approx((0, -2, 1))


@pytest.mark.parametrize(
    ("light", "words"),
    [
        (SPOT | {"position_m": None}, "give position_m or orbit"),
        (SUN | {"elevation_deg": 91}, r"\[-90, 90\]"),
        (BULB | {"tint": [-1, 1, 1]}, "can draw -1"),
        (BULB | {"kind": "cylinder"}, "does not match any"),
    ],
)
def test_lights_that_cannot_be_are_refused(light: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        drawn(light)


def test_a_stop_doubles() -> None:
    assert [power_of_two(stop) for stop in (-2, 0, 0.0, 3)] == [0.25, 1.0, 1.0, 8.0]
    assert power_of_two(0.5) == pytest.approx(2**0.5, rel=1e-15)
    assert Dome.model_validate({"environments": "lab"}).exposure_ev.support() == (0.0,)
