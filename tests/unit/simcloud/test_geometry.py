from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simcloud import geometry
from simcloud.spec.parameters import CameraView

finite = st.floats(-50, 50, allow_nan=False, width=32)
positions = st.tuples(finite, finite, finite)
quaternions = st.tuples(*[st.floats(-1, 1, allow_nan=False, width=32)] * 4).filter(
    lambda q: math.sqrt(sum(v * v for v in q)) > 0.1
)


def camera(
    width: int = 64, height: int = 48, offset_mm: tuple[float, float] = (0.0, 0.0)
) -> CameraView:
    return CameraView(
        name="main",
        width=width,
        height=height,
        cam2world=geometry.look_at((3.0, -4.0, 2.0), (0.0, 0.0, 0.5)),
        focal_length_mm=24.0,
        horizontal_aperture_mm=20.955,
        horizontal_aperture_offset_mm=offset_mm[0],
        vertical_aperture_offset_mm=offset_mm[1],
    )


@given(position=positions, orientation=quaternions, scale=st.floats(0.1, 10))
def test_inverse_of_a_pose_brings_points_back(
    position: tuple[float, float, float],
    orientation: tuple[float, float, float, float],
    scale: float,
) -> None:
    pose = geometry.pose_matrix(position, orientation, scale)
    points = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [-4.0, 5.0, -6.0]])
    there = geometry.transform_points(pose, points)
    assert np.allclose(
        geometry.transform_points(geometry.affine_inverse(pose), there), points, atol=1e-9
    )
    assert np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3) * scale**2, atol=1e-9 * scale**2)


def test_quarter_turn_about_z_takes_x_to_y() -> None:
    half = math.sqrt(0.5)
    turn = geometry.rotation_matrix((half, 0.0, 0.0, half))
    assert np.allclose(turn @ [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])


def test_quaternion_without_length_is_refused() -> None:
    with pytest.raises(ValueError, match="unit quaternion"):
        geometry.rotation_matrix((0.0, 0.0, 0.0, 0.0))


def test_singular_matrix_has_no_inverse() -> None:
    with pytest.raises(ValueError, match="singular"):
        geometry.affine_inverse(np.diag([1.0, 0.0, 1.0, 1.0]))


@pytest.mark.parametrize("size", [(7, 5), (33, 17), (1, 1), (640, 480)])
def test_rays_through_pixel_centres_project_back_onto_them(size: tuple[int, int]) -> None:
    view = camera(*size, offset_mm=(1.5, -0.7))
    directions, cosines = geometry.pixel_rays(view)
    eye = np.asarray(view.cam2world)[:3, 3]
    pixels, depth = geometry.project(view, (eye + directions * 3.0).reshape(-1, 3))
    columns, rows = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    # cam2world is float32, so its rotation is orthogonal to about 1e-7
    assert np.allclose(pixels[:, 0], columns.ravel(), atol=1e-3)
    assert np.allclose(pixels[:, 1], rows.ravel(), atol=1e-3)
    assert np.allclose(depth, 3.0 * cosines.ravel(), rtol=1e-6)


def test_rays_belong_to_their_camera_and_are_nobodys_to_change() -> None:
    one, other = camera(7, 5), camera(7, 5, offset_mm=(1.5, 0.0))
    directions, cosines = geometry.pixel_rays(one)
    assert not np.array_equal(geometry.pixel_rays(other)[0], directions)
    assert np.array_equal(geometry.pixel_rays(one)[0], directions)
    for array in (directions, cosines):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0


def test_positive_aperture_offsets_show_more_of_the_right_and_of_the_top() -> None:
    straight = geometry.principal_point_px(camera())
    moved = geometry.principal_point_px(camera(offset_mm=(2.0, 2.0)))
    assert straight == (32.0, 24.0)
    # the window moves right and up, so what is straight ahead moves left and down in the picture
    assert moved[0] < straight[0]
    assert moved[1] > straight[1]


def test_intrinsics_follow_from_aperture_and_focal_length() -> None:
    matrix = geometry.intrinsics(camera(width=640, height=480))
    assert matrix[0, 0] == matrix[1, 1] == pytest.approx(640 * 24.0 / 20.955)
    assert (matrix[0, 2], matrix[1, 2]) == (320.0, 240.0)


def test_look_at_keeps_up_up_and_looks_at_its_target() -> None:
    view = camera()
    pixels, depth = geometry.project(view, np.array([[0.0, 0.0, 0.5], [0.0, 0.0, 1.0]]))
    assert np.allclose(pixels[0], [32.0, 24.0], atol=1e-3)
    assert depth[0] > 0
    assert pixels[1, 1] < pixels[0, 1]


@pytest.mark.parametrize(("eye", "target"), [((1, 1, 1), (1, 1, 1)), ((0, 0, 1), (0, 0, 5))])
def test_look_at_refuses_directions_that_are_none(
    eye: tuple[float, float, float], target: tuple[float, float, float]
) -> None:
    with pytest.raises(ValueError, match="cannot look"):
        geometry.look_at(eye, target)


def test_extent_of_what_reaches_behind_the_camera_is_cut_at_the_near_plane() -> None:
    view = dataclasses.replace(camera(), cam2world=geometry.look_at((0, -1, 0), (0, 0, 0)))
    corners = geometry.box_corners((-0.1, -5.0, -0.1), (0.1, 1.0, 0.1))
    extent = geometry.projected_extent(view, corners, geometry.BOX_EDGES)
    assert extent is not None
    # at the near plane the box's 0.2 m are 10 focal lengths wide
    focal = geometry.focal_px(view)
    assert extent[2] - extent[0] == pytest.approx(0.2 / view.near_m * focal, rel=1e-5)


def test_extent_of_what_is_behind_the_camera_is_none() -> None:
    view = dataclasses.replace(camera(), cam2world=geometry.look_at((0, -1, 0), (0, 0, 0)))
    corners = geometry.box_corners((-1, -5, -1), (1, -3, 1))
    assert geometry.projected_extent(view, corners, geometry.BOX_EDGES) is None
