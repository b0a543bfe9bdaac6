"""The pure parts of the scripts that remake the assets."""

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts" / "assets"


@pytest.fixture(autouse=True)
def scripts_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


def write_model(folder: Path) -> Path:
    (folder / "cloth.jpg").write_bytes(b"any bytes: only its being there counts")
    (folder / "model.mtl").write_text(
        "newmtl gone\nKd 0.5 0.4 0.3\nNs 20\nmap_Kd C:\\Users\\someone\\gone.jpg\n"
        "newmtl there\nmap_Kd D:\\else\\cloth.jpg\t\n"
    )
    path = folder / "model.obj"
    path.write_text(
        "mtllib model.mtl\n"
        "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\n"
        "usemtl gone\nf 1 2 3 4\n"
        "usemtl there\nf -4/1 -3/1 -2/1\n"
    )
    return path


def test_polygons_become_fans_and_negative_indices_count_from_the_end(tmp_path: Path) -> None:
    model = script("obj_model").read_obj(write_model(tmp_path))

    gone, there = model.groups
    assert gone.positions.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert gone.texcoords.tolist() == [[-1, -1, -1], [-1, -1, -1]]
    assert there.positions.tolist() == [[0, 1, 2]]
    assert there.texcoords.tolist() == [[0, 0, 0]]


def test_textures_are_found_by_bare_name_or_reported_missing(tmp_path: Path) -> None:
    gone, there = script("obj_model").read_obj(write_model(tmp_path)).groups

    assert gone.material.diffuse_texture is None
    assert gone.material.diffuse == (0.5, 0.4, 0.3)
    assert there.material.diffuse_texture == tmp_path / "cloth.jpg"


def test_a_model_without_faces_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.obj"
    path.write_text("v 0 0 0\n")

    with pytest.raises(ValueError, match="holds no face"):
        script("obj_model").read_obj(path)


def test_a_box_keeps_its_edges_and_a_fine_sphere_is_smooth() -> None:
    mesh_ops, shapes = script("mesh_ops"), script("shapes")
    box = shapes.box((-1, -1, 0), (1, 1, 2)).triangles
    angle = np.linspace(-np.pi / 2, np.pi / 2, 25)
    profile = [(max(float(np.cos(a)), 0.0), float(np.sin(a))) for a in angle]
    sphere = shapes.lathe(profile, segments=48).triangles

    flat = mesh_ops.unit(mesh_ops.face_normals(box))
    np.testing.assert_allclose(mesh_ops.crease_normals(box), np.repeat(flat[:, None], 3, axis=1))
    cosine = (mesh_ops.crease_normals(sphere) * sphere).sum(2)
    assert cosine.min() > 0.995


@pytest.mark.parametrize("bevel_m", [0.0, 0.01])
def test_a_box_is_closed_and_faces_outward(bevel_m: float) -> None:
    mesh_ops = script("mesh_ops")
    triangles = script("shapes").box((0, 0, 0), (0.4, 0.3, 0.2), bevel_m=bevel_m).triangles
    normals = mesh_ops.face_normals(triangles) / 2

    # A closed surface's area vectors sum to zero; its volume follows from the divergence theorem.
    np.testing.assert_allclose(normals.sum(0), 0.0, atol=1e-12)
    volume = (triangles.mean(1) * normals).sum() / 3
    assert 0.97 * 0.024 < volume <= 0.024 + 1e-12


def test_a_tube_keeps_its_distance_from_its_path_and_closes_around_it() -> None:
    angle = np.linspace(0.0, 1.5, 12)
    path = [(float(np.cos(a)), float(np.sin(a)), 0.1) for a in angle]
    triangles = script("shapes").tube(path, 0.02, sides=8).triangles

    ring, height = np.hypot(triangles[..., 0], triangles[..., 1]) - 1.0, triangles[..., 2] - 0.1
    np.testing.assert_allclose(np.hypot(ring, height), 0.02, rtol=0.03)
    # Every edge but those of the two open ends belongs to two triangles.
    keys = np.round(triangles, 9)
    edges: dict[frozenset[tuple[float, ...]], int] = {}
    for one, two, three in keys:
        for start, end in ((one, two), (two, three), (three, one)):
            edge = frozenset((tuple(start), tuple(end)))
            edges[edge] = edges.get(edge, 0) + 1
    assert sorted(edges.values()).count(1) == 2 * 8
    assert max(edges.values()) == 2


def test_a_sheet_hangs_between_its_two_lines_with_texture_coordinates_in_metres() -> None:
    upper, lower = [(0.0, 0.0), (0.5, 0.0), (1.0, 0.0)], [(0.0, 0.1), (0.5, 0.1), (1.0, 0.1)]
    shape = script("shapes").sheet(upper, 2.0, lower, 0.5)

    top = shape.triangles[..., 2] == 2.0
    assert set(shape.triangles[..., 1][top]) == {0.0}
    assert set(shape.triangles[..., 1][~top]) == {0.1}
    assert np.ptp(shape.texcoords[..., 0]) == 1.0
    np.testing.assert_allclose(np.ptp(shape.texcoords[..., 1]), np.hypot(1.5, 0.1))


def test_indexing_joins_equal_corners_and_keeps_every_triangle() -> None:
    mesh_ops = script("mesh_ops")
    triangles = script("shapes").box((0, 0, 0), (1, 1, 1)).triangles
    normals = mesh_ops.crease_normals(triangles)

    mesh = mesh_ops.index_corners(triangles, normals, None)

    assert len(mesh.points_m) == 24
    np.testing.assert_allclose(mesh.points_m[mesh.faces], triangles, atol=1e-6)


def test_texture_coordinates_carry_over_to_a_coarser_mesh_of_the_same_plane() -> None:
    mesh_ops = script("mesh_ops")
    axis = np.linspace(0.0, 1.0, 9)
    x, y = np.meshgrid(axis, axis)
    grid = np.stack([x, y, np.zeros_like(x)], axis=2)
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    fine = np.concatenate(
        [np.stack(corners, 2).reshape(-1, 3, 3) for corners in ((a, b, c), (a, c, d))]
    )
    coarse = np.array([[[0, 0, 0], [1, 0, 0], [1, 1, 0]]], np.float64)

    texcoords = mesh_ops.transfer_texcoords(coarse, fine, fine[..., :2] * 3.0)

    np.testing.assert_allclose(texcoords, coarse[..., :2] * 3.0, atol=1e-9)


@pytest.mark.parametrize(
    "name", ["floor_herringbone", "floor_oak", "floor_terrazzo", "wall_brick", "wall_stripes"]
)
def test_room_textures_tile_and_are_the_same_each_time(name: str) -> None:
    (texture,) = (t for t in script("room_textures").ROOM_TEXTURES if t.name == name)

    first = texture.draw(np.random.default_rng(7), 128, texture.width_m)
    second = texture.draw(np.random.default_rng(7), 128, texture.width_m)

    np.testing.assert_array_equal(first, second)
    # Across the seam neighbours differ no more than the roughest line inside does.
    for axis in (0, 1):
        steps = np.abs(np.diff(first, axis=axis)).mean(axis=(1 - axis, 2))
        seam = np.abs(first.take(0, axis) - first.take(-1, axis)).mean()
        assert seam <= steps.max() * 1.1
