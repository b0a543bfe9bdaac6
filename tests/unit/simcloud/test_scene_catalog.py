from __future__ import annotations

from pathlib import Path

import pytest
from pxr import Gf, UsdGeom, UsdLux

from simcloud.errors import Corruption, InvalidRequest
from simcloud.scene.catalog import Catalog, catalog_from_json, read_catalog
from simcloud.scene.translate.usd import read_scene
from simcloud_generator.backends.frame_scene import semantic_ids
from support import scenes


def showroom(folder: Path) -> Path:
    """The furnished stage with an environment, a camera and a placement hint."""
    (folder / "sky.hdr").write_bytes(b"any bytes: a catalog opens no picture")
    path = scenes.furnished_stage(folder)
    from pxr import Usd

    stage = Usd.Stage.Open(str(path))
    stage.GetPrimAtPath("/Library/can").SetCustomDataByKey("simcloud:placement", "wall")
    UsdGeom.Scope.Define(stage, "/Environments")
    dome = stage.CreateClassPrim("/Environments/noon")
    dome.SetTypeName("DomeLight")
    UsdLux.DomeLight(dome).CreateTextureFileAttr("./sky.hdr")
    camera = UsdGeom.Camera.Define(stage, "/World/Camera")
    UsdGeom.XformCommonAPI(camera).SetTranslate(Gf.Vec3d(1.0, 2.0, 3.0))
    stage.GetRootLayer().Save()
    return path


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return read_catalog(showroom(tmp_path))


def test_catalog_names_what_a_spec_can_refer_to(catalog: Catalog) -> None:
    assert catalog.asset_names == {"can", "crate"}
    assert catalog.environment_names == {"noon"}
    assert catalog.material_paths == {"/World/Looks/red", "/World/Looks/blue"}
    assert catalog.geometry_paths == {
        "/World",
        "/World/Room",
        "/World/Room/Floor",
        "/World/Room/Pit",
    }
    assert catalog.classes == ("can", "carton", "floor")
    assert catalog.static_labels == (("/World/Room/Floor", "floor"),)
    assert catalog.cameras[0].path == "/World/Camera"
    assert [row[3] for row in catalog.cameras[0].cam2world] == [1.0, 2.0, 3.0, 1.0]


def test_sizes_are_those_of_the_geometry(catalog: Catalog) -> None:
    assert catalog.asset_size_m("crate") == (1.0, 1.0, 1.0)
    assert catalog.asset_size_m("can") == pytest.approx((0.5, 0.5, 0.8))
    assert catalog.asset("crate").base_m == (0.0, 0.0, 0.0)
    assert catalog.room is not None
    assert catalog.room.minimum == (-3.0, -3.0, -1.0)
    assert catalog.room.maximum == (6.0, 3.0, 0.0)


def test_placement_hints_are_the_authors(catalog: Catalog) -> None:
    assert catalog.asset("can").placement == "wall"
    assert catalog.asset("crate").placement == "any"


def test_environments_are_named_relative_to_the_root_layer(catalog: Catalog) -> None:
    assert catalog.environment_texture("noon") == "sky.hdr"


def test_unknown_names_are_refused_with_the_known_ones(catalog: Catalog) -> None:
    with pytest.raises(InvalidRequest, match="no chair; it has can, crate"):
        catalog.asset_size_m("chair")
    with pytest.raises(InvalidRequest, match="no dusk; it has noon"):
        catalog.environment_texture("dusk")


def test_catalog_survives_json_and_equal_catalogs_give_equal_bytes(
    catalog: Catalog, tmp_path: Path
) -> None:
    assert catalog_from_json(catalog.to_json()) == catalog
    other = tmp_path / "other"
    other.mkdir()
    assert read_catalog(showroom(other)).to_json() == catalog.to_json()
    with pytest.raises(Corruption, match="no catalog"):
        catalog_from_json(b'{"assets": 3}')


def test_catalog_and_generator_count_the_same_classes(tmp_path: Path) -> None:
    path = showroom(tmp_path)
    assert semantic_ids(read_catalog(path).classes) == semantic_ids(read_scene(path).classes)


def test_missing_environment_texture_is_refused(tmp_path: Path) -> None:
    path = showroom(tmp_path)
    (tmp_path / "sky.hdr").unlink()
    with pytest.raises(InvalidRequest, match=r"/Environments/noon names .*sky\.hdr"):
        read_catalog(path)


def test_asset_without_geometry_is_refused(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    scenes.add_library_asset(stage, "ghost", "ghost")
    with pytest.raises(InvalidRequest, match="/Library/ghost has no geometry"):
        read_catalog(scenes.save(stage, tmp_path))


def test_boxes_of_prims_hold_what_is_below_them(catalog: Catalog) -> None:
    floor, pit = (catalog.prim_extent_m(f"/World/Room/{name}") for name in ("Floor", "Pit"))
    low, high = catalog.prim_extent_m("/World/Room")
    for axis in range(3):
        assert low[axis] == min(floor[0][axis], pit[0][axis])
        assert high[axis] == max(floor[1][axis], pit[1][axis])
    with pytest.raises(InvalidRequest, match="/World/Attic"):
        catalog.prim_extent_m("/World/Attic")


def test_triangles_of_a_prim_are_in_the_world_and_fill_its_box(catalog: Catalog) -> None:
    triangles = catalog.prim_triangles("/World/Room")
    points = [point for triangle in triangles for point in triangle]
    low, high = catalog.prim_extent_m("/World/Room")
    for axis in range(3):
        assert min(point[axis] for point in points) == pytest.approx(low[axis])
        assert max(point[axis] for point in points) == pytest.approx(high[axis])
    with pytest.raises(InvalidRequest, match="/World/Attic"):
        catalog.prim_triangles("/World/Attic")
    with pytest.raises(InvalidRequest, match="stage itself"):
        catalog_from_json(catalog.to_json()).prim_triangles("/World/Room")


def test_shelf_levels_are_heights_above_the_base_from_the_lowest_up(tmp_path: Path) -> None:
    stage = scenes.new_stage(metres_per_unit=0.01)
    scenes.add_library_asset(stage, "rack", "rack")
    scenes.add_cube(stage, "/Library/rack/Board", size=100.0)
    levels = {"upper": 30.0, "lower": -20.0}
    stage.GetPrimAtPath("/Library/rack").SetCustomDataByKey("simcloud:levels", levels)
    catalog = read_catalog(scenes.save(stage, tmp_path))
    names, heights = zip(*catalog.asset_levels_m("rack"), strict=True)
    assert names == ("lower", "upper")
    assert heights == pytest.approx((0.3, 0.8))
    assert catalog_from_json(catalog.to_json()) == catalog


def test_levels_that_are_no_heights_are_refused(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    scenes.add_library_asset(stage, "rack", "rack")
    scenes.add_cube(stage, "/Library/rack/Board", size=1.0)
    stage.GetPrimAtPath("/Library/rack").SetCustomDataByKey("simcloud:levels", "three")
    with pytest.raises(InvalidRequest, match="simcloud:levels of /Library/rack"):
        read_catalog(scenes.save(stage, tmp_path))
