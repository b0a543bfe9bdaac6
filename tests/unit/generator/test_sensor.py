"""A sensor's effects: each follows its model, and all of them give the same bytes everywhere."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simcloud.spec.parameters import SensorEffects
from simcloud_generator.backends.base import RenderedView
from simcloud_generator.sensor.curves import Picture, to_light, to_picture
from simcloud_generator.sensor.effects import BLOCK_ROWS, apply_sensor, sensed
from simcloud_generator.sensor.electronics import NormalValues, add_noise, recompressed
from simcloud_generator.sensor.optics import (
    chromatic_aberration,
    defocused,
    gaussian_weights,
    line_kernel,
    moved,
    vignetting_gain,
)
from support.scenes import camera

EVERYTHING = SensorEffects(
    chromatic_aberration_px=0.7,
    defocus_blur_px=0.6,
    motion_blur_px=0.8,
    motion_blur_deg=25.0,
    vignetting=0.3,
    exposure_ev=0.2,
    full_well_electrons=2000.0,
    read_noise_electrons=4.0,
    adc_bits=10,
    white_balance_k=5200.0,
    jpeg_quality=85,
    noise_key=(7, 2**63 + 5),
)


def picture(height: int = 60, width: int = 80) -> Picture:
    """Soft random colours."""
    noise = np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 2.0), dtype=np.uint8)


def grey(level: float, height: int = 128, width: int = 128) -> npt.NDArray[np.float32]:
    return np.full((height, width, 3), level, dtype=np.float32)


def test_neutral_effects_leave_every_value_as_it_is() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    np.testing.assert_array_equal(apply_sensor(levels, SensorEffects()), levels)
    np.testing.assert_array_equal(to_picture(to_light(levels)), levels)


def test_exposure_is_a_factor_on_light() -> None:
    dim = to_picture(grey(0.1))
    brighter = to_light(apply_sensor(dim, SensorEffects(exposure_ev=1.0)))
    np.testing.assert_allclose(brighter, 2 * to_light(dim), rtol=0.01)
    assert apply_sensor(dim, SensorEffects(exposure_ev=8.0)).min() == 255


@pytest.mark.parametrize("level", [0.06, 0.2, 0.6])
@pytest.mark.parametrize(("full_well", "read"), [(500.0, 0.0), (2000.0, 20.0)])
def test_noise_has_the_variance_of_shot_and_read_noise(
    level: float, full_well: float, read: float
) -> None:
    light = grey(level)
    normal = NormalValues((3, 4))
    add_noise(light, normal, full_well_electrons=full_well, read_noise_electrons=read)

    expected = level / full_well + (read / full_well) ** 2
    # 49,152 values: the variance's own deviation is 0.6 %.
    assert light.var() == pytest.approx(expected, rel=0.03)
    assert light.mean() == pytest.approx(level, abs=4 * (expected / light.size) ** 0.5)


def test_dark_noise_is_clipped_at_zero_and_bright_noise_at_the_full_well() -> None:
    light = np.concatenate([grey(0.0), grey(1.0)])
    add_noise(light, NormalValues((1, 1)), full_well_electrons=100, read_noise_electrons=5)
    assert (light.min(), light.max()) == (0.0, 1.0)
    assert 0.4 < (light[:128] > 0).mean() < 0.6


def test_random_values_are_standard_normal_and_do_not_depend_on_how_they_are_taken() -> None:
    values = NormalValues((11, 12)).take(200_000)
    parts = NormalValues((11, 12))
    again = np.concatenate([parts.take(count) for count in (4, 4096, 195_900)])

    np.testing.assert_array_equal(values, again)
    assert values.mean() == pytest.approx(0, abs=0.01)
    assert values.std() == pytest.approx(1, abs=0.01)
    assert np.mean(np.abs(values) < 1) == pytest.approx(0.6827, abs=0.005)
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.01
    assert not np.array_equal(values, NormalValues((11, 13)).take(200_000))


def test_random_values_do_not_move() -> None:
    # Part of what makes a frame: a change here changes stored runs when they are resumed.
    assert [float(value) for value in NormalValues((1, 2)).take(3)] == GOLDEN


GOLDEN = [-0.2067214399576187, 0.5484407544136047, -0.6371416449546814]


def test_neighbouring_frames_get_other_noise() -> None:
    plain = to_picture(grey(0.3))
    one, other = (
        apply_sensor(plain, SensorEffects(full_well_electrons=1000, noise_key=key))
        for key in ((5, 6), (5, 7))
    )
    assert np.mean(one != other) > 0.8


@given(st.floats(0.05, 4.0), st.floats(-180, 180))
@settings(max_examples=60, deadline=None)
def test_blur_moves_light_but_loses_none(deviation: float, direction: float) -> None:
    light = np.zeros((49, 49, 3), dtype=np.float32)
    light[24, 24] = 1.0
    for result in (defocused(light, deviation), moved(light, deviation, direction)):
        np.testing.assert_allclose(result.sum(axis=(0, 1)), 1.0, rtol=1e-4)
        row, column = np.indices((49, 49))
        spot = result[:, :, 0]
        assert (spot * row).sum() == pytest.approx(24, abs=1e-3)
        assert (spot * column).sum() == pytest.approx(24, abs=1e-3)
    np.testing.assert_allclose(defocused(grey(0.4, 30, 30), deviation), 0.4, rtol=1e-5)


@pytest.mark.parametrize("deviation", [0.8, 1.5, 3.0])
def test_blur_has_its_deviation(deviation: float) -> None:
    weights = gaussian_weights(deviation)
    offset = np.arange(len(weights)) - len(weights) // 2
    # The Gaussian's own variance and that of a pixel's width, less what is cut off.
    assert (weights * offset**2).sum() == pytest.approx(deviation**2 + 1 / 12, rel=0.04)


@pytest.mark.parametrize(("direction", "line"), [(0.0, (0, 1)), (90.0, (1, 0)), (45.0, (-1, 1))])
def test_motion_blurs_along_its_line_alone(direction: float, line: tuple[int, int]) -> None:
    kernel = line_kernel(2.0, direction)
    reach = len(kernel) // 2
    row, column = np.indices(kernel.shape) - reach
    length = (line[0] ** 2 + line[1] ** 2) ** 0.5
    along = (row * line[0] + column * line[1]) / length
    across = (row * line[1] - column * line[0]) / length
    assert kernel.sum() == pytest.approx(1)
    assert (kernel * along**2).sum() == pytest.approx(4, rel=0.1)
    assert (kernel * across**2).sum() < 0.2


def test_vignetting_leaves_the_middle_and_takes_its_share_of_the_corners() -> None:
    gain = vignetting_gain(480, 640, 0.4)
    assert gain[239:241, 319:321].min() == pytest.approx(1, abs=1e-4)
    assert gain[0, 0] == gain[-1, -1] == pytest.approx(0.6, abs=2e-3)
    assert (np.diff(gain[240, 320:]) <= 0).all()
    # The fourth power of a cosine: its root is 1 / (1 + k r^2), linear in r^2 once turned over.
    inverse = 1 / np.sqrt(gain[240, 320:].astype(np.float64))
    squared = (np.arange(320) + 0.5) ** 2
    np.testing.assert_allclose(inverse - 1, (inverse[-1] - 1) * squared / squared[-1], atol=1e-5)


def test_chromatic_aberration_moves_red_out_and_blue_in_and_leaves_green() -> None:
    light = np.zeros((101, 201, 3), dtype=np.float32)
    light[50, 180] = 1.0
    result = chromatic_aberration(light, 4.0)

    column = np.arange(201)
    red, green, blue = (
        (result[50, :, c] * column).sum() / result[50, :, c].sum() for c in range(3)
    )
    share = 80 / float(np.hypot(201, 101) / 2)
    assert red == pytest.approx(180 + 4 * share, abs=0.1)
    assert green == 180
    assert blue == pytest.approx(180 - 4 * share, abs=0.1)


def test_white_balance_for_warm_light_turns_the_picture_blue() -> None:
    plain = to_picture(grey(0.3))
    warm, cold = (
        to_light(apply_sensor(plain, SensorEffects(white_balance_k=kelvin)))[0, 0]
        for kelvin in (4000.0, 9000.0)
    )
    assert warm[2] > warm[1] > warm[0]
    assert cold[0] > cold[2]
    for balanced in (warm, cold):
        luminance = balanced @ np.array([0.2126, 0.7152, 0.0722])
        assert luminance == pytest.approx(0.3, rel=0.02)


def test_a_converter_leaves_its_steps() -> None:
    ramp = np.linspace(0, 255, 256).astype(np.uint8).reshape(1, 256, 1).repeat(3, axis=2)
    stepped = apply_sensor(np.ascontiguousarray(ramp), SensorEffects(adc_bits=4))
    assert len(np.unique(stepped)) == 16


def test_jpeg_changes_the_picture_alike_each_time_and_more_at_lower_quality() -> None:
    plain = picture()
    fine, coarse = recompressed(plain, 95), recompressed(plain, 20)
    np.testing.assert_array_equal(coarse, recompressed(plain, 20))

    def error(other: Picture) -> float:
        return float(np.abs(plain.astype(int) - other.astype(int)).mean())

    assert 0 < error(fine) < error(coarse) < 20
    assert fine.shape == plain.shape


def test_each_effect_changes_the_picture() -> None:
    plain = picture()
    neutral = SensorEffects()
    alone = [
        SensorEffects(chromatic_aberration_px=2),
        SensorEffects(defocus_blur_px=1),
        SensorEffects(motion_blur_px=1),
        SensorEffects(vignetting=0.3),
        SensorEffects(exposure_ev=0.3),
        SensorEffects(full_well_electrons=500),
        SensorEffects(adc_bits=5),
        SensorEffects(white_balance_k=4500),
        SensorEffects(jpeg_quality=50),
    ]
    results = [apply_sensor(plain, effects).tobytes() for effects in [neutral, *alone]]
    assert len(set(results)) == len(results)
    assert results[0] == plain.tobytes()


@pytest.mark.parametrize("height", [1, BLOCK_ROWS - 1, BLOCK_ROWS + 1])
def test_odd_sizes_are_kept(height: int) -> None:
    odd = picture(height, 7)
    before = odd.copy()
    assert apply_sensor(odd, EVERYTHING).shape == (height, 7, 3)
    np.testing.assert_array_equal(odd, before)


def test_only_rgb_of_a_view_changes() -> None:
    depth = np.ones((60, 80), np.float32)
    view = RenderedView(
        camera=replace(camera(size=(80, 60)), sensor=EVERYTHING),
        arrays={"rgb": picture(), "distance_to_camera": depth},
        objects=(),
        timings={},
    )
    done = sensed(view)
    assert list(done.arrays) == ["rgb", "distance_to_camera"]
    assert done.arrays["distance_to_camera"] is depth
    assert not np.array_equal(done.arrays["rgb"], view.arrays["rgb"])
    plain = replace(view, camera=camera(size=(80, 60)))
    assert sensed(plain) is plain


def test_another_process_with_another_number_of_threads_gives_the_same_bytes(
    tmp_path: Path,
) -> None:
    plain = picture(240, 321)
    np.save(tmp_path / "plain.npy", plain)
    code = (
        "import sys, cv2, numpy\n"
        "from simcloud.spec.parameters import SensorEffects\n"
        "from simcloud_generator.sensor.effects import apply_sensor\n"
        "cv2.setNumThreads(4)\n"
        f"done = apply_sensor(numpy.load('plain.npy'), {EVERYTHING!r})\n"
        "sys.stdout.buffer.write(done.tobytes())\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, timeout=100, cwd=tmp_path
    )
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        assert found.stdout == apply_sensor(plain, EVERYTHING).tobytes()
    finally:
        cv2.setNumThreads(threads)
