"""Every asset of the library is complete, plausible and free."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest
from pxr import Usd, UsdGeom, UsdSemantics, UsdShade

ASSETS = Path(__file__).resolve().parents[3] / "scenes" / "assets"
SHOWROOM = ASSETS.parent / "showroom"
LAYERS = sorted(ASSETS.glob("*/*.usdc"))
PLACEMENTS = {"wall", "floor", "face", "on_top", "rug", "wall_hung"}
MEGABYTE = 1_000_000

# Metres, from the furniture catalogue: width, depth, height.
CATALOGUE_SIZE_M = {
    "antique_chair": (0.498, 0.632, 0.982),
    "bed_with_texture": (1.98, 2.264, 0.765),
    "chair": (0.513, 0.531, 0.80),
    "chair_2": (0.403, 0.489, 0.868),
    "couch": (2.074, 0.876, 0.856),
    "decorative_plant": (0.559, 0.602, 1.031),
    "led_tv": (0.775, 0.142, 0.508),
    "little_plant": (0.266, 0.266, 0.232),
    "orchids": (0.311, 0.353, 0.574),
    "osaka_chair": (0.475, 0.525, 0.77),
    "plant": (0.818, 0.69, 1.171),
    "sofa": (2.488, 1.896, 0.78),
    "sofa_2": (1.669, 0.747, 0.848),
    "teddy_bear": (0.331, 0.218, 0.322),
}

# What an asset looks at is not in its bounds; where its mass is tells front from back. Seats have
# their back at +Y: above the middle of their height the mass lies behind.
SEATS = ("antique_chair", "chair", "chair_2", "couch", "osaka_chair", "sofa_2")


def meshes_of(stage: Any) -> list[Any]:
    return [UsdGeom.Mesh(prim) for prim in stage.Traverse() if prim.IsA(UsdGeom.Mesh)]


def points_of(stage: Any) -> Any:
    return np.concatenate([np.array(mesh.GetPointsAttr().Get()) for mesh in meshes_of(stage)])


@pytest.fixture(params=LAYERS, ids=[path.stem for path in LAYERS])
def layer(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_asset_has_one_label_a_known_placement_and_the_standard_frame(layer: Path) -> None:
    stage = Usd.Stage.Open(str(layer))
    root = stage.GetDefaultPrim()

    assert root.GetPath() == f"/{layer.stem}"
    assert UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.z
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1.0
    assert len(UsdSemantics.LabelsAPI(root, "class").GetLabelsAttr().Get()) == 1
    assert root.GetCustomDataByKey("simcloud:placement") in PLACEMENTS


def test_asset_stands_on_its_origin_with_the_size_it_states(layer: Path) -> None:
    stage = Usd.Stage.Open(str(layer))
    root = stage.GetDefaultPrim()
    points = points_of(stage)
    low, high = points.min(0), points.max(0)
    stated = np.array(root.GetAttribute("simcloud:size_m").Get())

    np.testing.assert_allclose(high - low, stated, atol=1e-5)
    np.testing.assert_allclose((low + high)[:2] / 2, 0.0, atol=1e-5)
    assert low[2] == pytest.approx(0.0, abs=1e-5)
    np.testing.assert_allclose(np.array(UsdGeom.ModelAPI(root).GetExtentsHint()), [low, high])
    assert np.all(stated < 3.0)


@pytest.mark.parametrize("name", sorted(CATALOGUE_SIZE_M))
def test_furniture_has_its_catalogue_size(name: str) -> None:
    stage = Usd.Stage.Open(str(ASSETS / name / f"{name}.usdc"))
    size = np.array(stage.GetDefaultPrim().GetAttribute("simcloud:size_m").Get())

    # Simplification may trim the very tip of a leaf.
    np.testing.assert_allclose(size, CATALOGUE_SIZE_M[name], atol=0.006)


def test_television_carries_no_makers_name() -> None:
    stage = Usd.Stage.Open(str(ASSETS / "led_tv" / "led_tv.usdc"))
    points = points_of(stage)
    # Raised letters stood on the front of the frame, just below the middle of the screen.
    inside = (points > (-0.02, -0.016, 0.0785)) & (points < (0.02, -0.0125, 0.0825))

    assert not inside.all(axis=1).any()


@pytest.mark.parametrize("name", SEATS)
def test_seats_face_minus_y(name: str) -> None:
    stage = Usd.Stage.Open(str(ASSETS / name / f"{name}.usdc"))
    points = points_of(stage)
    upper = points[points[:, 2] > 0.75 * points[:, 2].max()]

    assert upper[:, 1].mean() > 0.1 * np.ptp(points[:, 1])


def test_meshes_are_triangles_with_unit_normals_and_valid_indices(layer: Path) -> None:
    stage = Usd.Stage.Open(str(layer))  # prims live only as long as their stage
    for mesh in meshes_of(stage):
        points = np.array(mesh.GetPointsAttr().Get())
        indices = np.array(mesh.GetFaceVertexIndicesAttr().Get())
        normals = np.array(mesh.GetNormalsAttr().Get())

        assert set(mesh.GetFaceVertexCountsAttr().Get()) == {3}
        assert mesh.GetSubdivisionSchemeAttr().Get() == UsdGeom.Tokens.none
        assert mesh.GetDoubleSidedAttr().Get() is True
        assert mesh.GetNormalsInterpolation() == UsdGeom.Tokens.vertex
        assert normals.shape == points.shape
        assert np.isfinite(points).all()
        assert (indices.min(), indices.max()) == (0, len(points) - 1)
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-3)


def test_every_mesh_has_a_preview_surface_and_textured_ones_have_coordinates(layer: Path) -> None:
    stage = Usd.Stage.Open(str(layer))  # prims live only as long as their stage
    for mesh in meshes_of(stage):
        material, _ = UsdShade.MaterialBindingAPI(mesh.GetPrim()).ComputeBoundMaterial()
        surface, _, _ = material.ComputeSurfaceSource()
        color = surface.GetInput("diffuseColor")
        sources, _ = color.GetConnectedSources()

        assert surface.GetIdAttr().Get() == "UsdPreviewSurface"
        if sources:
            file = UsdShade.Shader(sources[0].source.GetPrim()).GetInput("file").Get()
            coordinates = UsdGeom.PrimvarsAPI(mesh).GetPrimvar("st")
            assert Path(file.resolvedPath).parent == layer.parent
            assert len(coordinates.Get()) == len(mesh.GetPointsAttr().Get())
        else:
            assert max(color.Get()) > 0.0


def test_asset_has_a_cc0_text_beside_it_and_a_row_in_the_table(layer: Path) -> None:
    (licence,) = layer.parent.glob("LICENSE.*")
    text = licence.read_text("latin-1")
    table = (ASSETS / "README.md").read_text("utf-8")
    stage = Usd.Stage.Open(str(layer))
    author = stage.GetDefaultPrim().GetCustomDataByKey("simcloud:author")

    assert re.search(r"Creative Commons Zero|CC-?0|publicdomain/zero", text, re.IGNORECASE)
    assert not re.search(r"CC-BY|Attribution-|NonCommercial|ShareAlike", text, re.IGNORECASE)
    assert re.search(
        rf"^\| {layer.stem} \|.*\| {re.escape(author)} \|.*{licence.name}", table, re.MULTILINE
    )


def test_folders_hold_nothing_but_what_the_assets_use(layer: Path) -> None:
    stage = Usd.Stage.Open(str(layer))
    used = {layer.name, *(path.name for path in layer.parent.glob("LICENSE.*"))}
    for prim in stage.Traverse():
        file = UsdShade.Shader(prim).GetInput("file") if prim.IsA(UsdShade.Shader) else None
        if file:
            used.add(Path(file.Get().path).name)

    assert {path.name for path in layer.parent.iterdir()} == used


@pytest.mark.parametrize("path", sorted(ASSETS.glob("environments/*.exr")), ids=lambda p: p.stem)
def test_environment_is_finite_neutral_and_of_mean_radiance_one(path: Path) -> None:
    with OpenEXR.File(str(path)) as file:
        picture = np.array(file.channels()["RGB"].pixels, np.float64)
    rows = np.sin((np.arange(256) + 0.5) / 256 * np.pi)[:, None, None]
    mean = (picture * rows).sum((0, 1)) / (rows.sum() * 512)

    assert picture.shape == (256, 512, 3)
    assert np.isfinite(picture).all()
    assert picture.min() >= 0.0
    assert mean.mean() == pytest.approx(1.0, rel=0.02)
    assert np.ptp(mean) < 0.2


def test_environments_carry_their_licence() -> None:
    assert "CC0 1.0" in (ASSETS / "environments" / "LICENSE.txt").read_text("utf-8")


def test_all_assets_together_stay_below_ten_megabytes() -> None:
    files = [path for folder in (ASSETS, SHOWROOM) for path in folder.rglob("*") if path.is_file()]

    assert sum(path.stat().st_size for path in files) <= 10 * MEGABYTE
