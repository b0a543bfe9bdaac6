"""Lights in orbit shine at their point; flat things in one plane do not overlap."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from simcloud.geometry import rotation_matrix
from simcloud.spec.draws import facing_quaternion
from simcloud.spec.footprint import Footprint
from simcloud.spec.light_model import RectLightSpec
from simcloud.spec.model import Spec
from simcloud.spec.parameters import RectLight
from simcloud.spec.sample import sample
from support.scene_contents import EmptyScene


def light(**fields: object) -> dict[str, object]:
    return {"name": "key", "width_m": 0.2, "height_m": 0.05, "radiance": 5.0, **fields}


def drawn(frame: int, **fields: object) -> RectLight:
    spec = Spec.model_validate(
        {
            "scene": {"root": "stage.usda"},
            "cameras": [
                {
                    "name": "main",
                    "width_px": 8,
                    "height_px": 8,
                    "placement": {"kind": "look_at", "eye": [0, 0, 1], "target": [0, 1, 0]},
                }
            ],
            "randomization": {"rect_lights": [light(**fields)]},
        }
    )
    (found,) = sample(spec, EmptyScene(), frame).rect_lights
    return found


@pytest.mark.parametrize("frame", range(8))
def test_a_light_in_orbit_shines_at_its_point_with_its_width_level(frame: int) -> None:
    found = drawn(
        frame,
        orbit={
            "target": [0.1, -0.2, 0.3],
            "distance_m": 0.7,
            "azimuth_deg": {"uniform": [-180, 180]},
            "elevation_deg": {"uniform": [5, 85]},
        },
    )

    turned = rotation_matrix(found.orientation_wxyz)
    offset = np.array([0.1, -0.2, 0.3]) - np.array(found.position_m)
    np.testing.assert_allclose(-turned[:, 2] * 0.7, offset, atol=1e-6)
    assert turned[2, 0] == pytest.approx(0.0, abs=1e-6)


def test_a_light_in_orbit_stands_where_its_azimuth_and_elevation_say() -> None:
    orbit = {"target": [0, 0, 0], "distance_m": 2.0, "azimuth_deg": 90.0, "elevation_deg": 30.0}

    assert drawn(0, orbit=orbit).position_m == pytest.approx((3**0.5, 0.0, 1.0), abs=1e-6)


def test_a_yaw_turns_a_light_in_orbit_about_its_own_axis() -> None:
    plain = rotation_matrix(facing_quaternion(azimuth_deg=40, elevation_deg=20, yaw_deg=0))
    turned = rotation_matrix(facing_quaternion(azimuth_deg=40, elevation_deg=20, yaw_deg=90))

    np.testing.assert_allclose(turned[:, 2], plain[:, 2], atol=1e-6)
    np.testing.assert_allclose(turned[:, 0], plain[:, 1], atol=1e-6)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {
            "position_m": [0, 0, 1],
            "orbit": {"target": [0, 0, 0], "distance_m": 1, "azimuth_deg": 0, "elevation_deg": 9},
        },
    ],
)
def test_a_light_stands_either_at_a_place_or_in_orbit(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="position_m or orbit"):
        RectLightSpec.model_validate(light(**fields))


def test_flat_things_in_one_plane_collide_and_those_on_another_level_do_not() -> None:
    lying = Footprint(0.0, 0.0, 0.1, 0.1, 0.0, 0.0, 0.0)

    assert lying.collides(Footprint(0.05, 0.05, 0.1, 0.1, 30.0, 0.0, 0.0), 0.0)
    assert not lying.collides(Footprint(0.2, 0.0, 0.1, 0.1, 0.0, 0.0, 0.0), 0.0)
    assert not lying.collides(Footprint(0.0, 0.0, 0.1, 0.1, 0.0, 0.01, 0.02), 0.0)
