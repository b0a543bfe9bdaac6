"""Collision shapes: hulls are tight, hollows stay hollow, fine meshes stay cheap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simcloud.geometry import Float64
from simcloud.scene.translate.types import NeutralScene, SceneMesh
from simcloud.scene.translate.usd import read_scene
from simcloud_generator.settling.hulls import HULL_ERROR_M, convex_hull
from simcloud_generator.settling.shapes import SLAB_M, falling_shape, standing_shape
from simcloud_generator.settling.surfaces import connected_surfaces, facets
from support.drops import BIN_INNER_M, BIN_WALL_M, SIZES_M, drop_stage

SHOWROOM = Path(__file__).parents[3] / "scenes" / "showroom" / "stage.usda"


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[SceneMesh, ...]]:
    scene = read_scene(drop_stage(tmp_path_factory.mktemp("shapes")))
    return {name: asset.meshes for name, asset in scene.assets.items()}


@pytest.fixture(scope="module")
def showroom() -> NeutralScene:
    return read_scene(SHOWROOM)


def ball(radius: float, count: int) -> Float64:
    """Points on a sphere, by a golden spiral."""
    number = np.arange(count) + 0.5
    polar, turn = np.arccos(1 - 2 * number / count), np.pi * (1 + 5**0.5) * number
    return radius * np.stack(
        [np.cos(turn) * np.sin(polar), np.sin(turn) * np.sin(polar), np.cos(polar)], axis=1
    )


def contains(piece: Float64, point: Float64) -> bool:
    """Whether a point lies within the box around a piece: pieces of boxes are boxes."""
    return bool((piece.min(axis=0) < point).all() and (point < piece.max(axis=0)).all())


def test_a_box_falls_as_its_eight_corners(assets: dict[str, tuple[SceneMesh, ...]]) -> None:
    (hull,) = falling_shape(assets["brick"])
    width, depth, height = SIZES_M["brick"]
    assert len(hull.points) == 8
    assert hull.volume_m3 == pytest.approx(width * depth * height, rel=1e-5)
    assert hull.centre_m == pytest.approx([0.0, 0.0, height / 2], abs=1e-6)
    assert np.ptp(hull.points, axis=0) == pytest.approx([width, depth, height], abs=1e-6)


def test_a_ball_gets_as_many_corners_as_keep_the_error() -> None:
    hull = convex_hull(ball(0.05, 3000))
    assert 64 <= len(hull.points) <= 256
    exact = 4 / 3 * np.pi * 0.05**3
    assert exact * (1 - 3 * HULL_ERROR_M / 0.05) <= hull.volume_m3 <= exact


def test_a_sheet_of_paper_has_a_thickness() -> None:
    flat = np.array([(0.0, 0.0, 0.0), (0.2, 0.0, 0.0), (0.2, 0.3, 0.0), (0.0, 0.3, 0.0)])
    hull = convex_hull(flat)
    assert np.ptp(hull.points, axis=0)[2] == pytest.approx(0.002)
    assert hull.volume_m3 == pytest.approx(0.2 * 0.3 * 0.002, rel=1e-4)


def test_what_falls_in_parts_falls_as_parts_only_where_that_saves_a_hollow(
    showroom: NeutralScene,
) -> None:
    scene = showroom
    assert len(falling_shape(scene.assets["teddy_bear"].meshes)) == 1
    for name in ("chair", "side_table"):
        hulls = falling_shape(scene.assets[name].meshes)
        points = np.concatenate([hull.points for hull in hulls])
        extent = np.array(scene.assets[name].maximum) - scene.assets[name].minimum
        assert np.ptp(points, axis=0) == pytest.approx(extent, abs=0.003)


def test_a_bin_stands_as_slabs_no_thicker_than_its_walls(
    assets: dict[str, tuple[SceneMesh, ...]],
) -> None:
    pieces = standing_shape(assets["bin"])
    hollow = np.array([0.0, 0.0, BIN_WALL_M + 0.02])
    for x in np.linspace(-0.49, 0.49, 5) * BIN_INNER_M[0]:
        for y in np.linspace(-0.49, 0.49, 5) * BIN_INNER_M[1]:
            assert not any(contains(piece, hollow + np.array([x, y, 0.0])) for piece in pieces)
    wall = np.array([BIN_INNER_M[0] / 2 + BIN_WALL_M / 2, 0.0, 0.1])
    floor = np.array([0.0, 0.0, BIN_WALL_M / 2])
    assert any(contains(piece, wall) for piece in pieces)
    assert any(contains(piece, floor) for piece in pieces)


def test_an_open_sheet_gets_its_thickness_from_below(showroom: NeutralScene) -> None:
    scene = showroom
    (floor,) = [mesh for mesh in scene.static if mesh.path.endswith("/Floor")][:1]
    tops = [piece[:, 2].max() for piece in standing_shape([floor])]
    assert max(tops) == pytest.approx(float(floor.vertices[:, 2].max()), abs=1e-6)
    lows = [piece[:, 2].min() for piece in standing_shape([floor])]
    assert min(lows) >= float(floor.vertices[:, 2].min()) - SLAB_M - 1e-6


def test_a_dense_mesh_stands_as_few_pieces(showroom: NeutralScene) -> None:
    asset = showroom.assets["teddy_bear"]
    pieces = standing_shape(asset.meshes)
    assert 0 < len(pieces) < 1500
    extent = np.array(asset.maximum) - asset.minimum
    assert np.ptp(np.concatenate(pieces), axis=0) == pytest.approx(extent, abs=0.005)


def test_a_box_has_six_facets_and_is_closed(assets: dict[str, tuple[SceneMesh, ...]]) -> None:
    (mesh,) = assets["die"]
    (surface,) = connected_surfaces(mesh.vertices, mesh.faces)
    assert surface.is_closed
    assert sorted(len(faces) for faces in facets(surface)) == [2] * 6
    assert surface.volume_m3 == pytest.approx(0.05**3, rel=1e-4)
