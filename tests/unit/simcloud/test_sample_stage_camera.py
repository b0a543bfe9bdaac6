"""Cameras that a stage brings along, taken by a spec."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pxr import Gf, UsdGeom
from pydantic import ValidationError

from simcloud.errors import InvalidRequest
from simcloud.geometry import matrix4
from simcloud.scene.catalog import Catalog, catalog_from_json, read_catalog
from simcloud.spec.check import check_against_scene
from simcloud.spec.model import Spec
from simcloud.spec.parameters import CameraView
from simcloud.spec.sample import sample
from support import scenes

DOOR = {"kind": "stage", "prim": "/World/Door"}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """A stage in centimetres, Y up, with a camera by the door, one above, and a box."""
    stage = scenes.new_stage(up_axis="Y", metres_per_unit=0.01)
    scenes.add_cube(stage, "/World/Box", size=20.0, label="box")
    door = UsdGeom.Camera.Define(stage, "/World/Door")
    UsdGeom.XformCommonAPI(door).SetTranslate(Gf.Vec3d(100, 150, 300))
    door.CreateFocalLengthAttr(35.0)
    door.CreateHorizontalApertureAttr(36.0)
    door.CreateVerticalApertureAttr(24.0)
    door.CreateVerticalApertureOffsetAttr(-1.5)
    above = UsdGeom.Camera.Define(stage, "/World/Above")
    UsdGeom.XformCommonAPI(above).SetTranslate(Gf.Vec3d(0, 400, 0))
    UsdGeom.XformCommonAPI(above).SetRotate(Gf.Vec3f(-90, 0, 0))
    UsdGeom.Camera.Define(stage, "/World/Blind").CreateHorizontalApertureAttr(0.0)
    return read_catalog(scenes.save(stage, tmp_path_factory.mktemp("stage")))


def camera(name: str = "main", placement: Any = DOOR, **fields: Any) -> dict[str, Any]:
    return {"name": name, "width_px": 64, "height_px": 48, "placement": placement, **fields}


def spec_of(*cameras: dict[str, Any]) -> Spec:
    return Spec.model_validate({"seed": 5, "scene": {"root": "s.usda"}, "cameras": list(cameras)})


def view_of(catalog: Catalog, **fields: Any) -> CameraView:
    (found,) = sample(spec_of(camera(**fields)), catalog, 0).cameras
    return found


def test_it_stands_where_the_stage_says_and_sees_through_its_own_lens(catalog: Catalog) -> None:
    view = view_of(catalog)
    pose = matrix4(view.cam2world)
    assert pose[:3, 3] == pytest.approx([1.0, -3.0, 1.5])  # Z up, metres
    assert -pose[:3, 2] == pytest.approx([0.0, 1.0, 0.0])  # USD's -Z is our +Y
    assert (view.focal_length_mm, view.horizontal_aperture_mm) == (35.0, 36.0)
    assert (view.horizontal_aperture_offset_mm, view.vertical_aperture_offset_mm) == (0.0, -1.5)


def test_a_lens_of_the_spec_takes_the_place_of_the_stages(catalog: Catalog) -> None:
    view = view_of(catalog, horizontal_fov_deg=90)
    assert view.focal_length_mm == pytest.approx(20.955 / 2)
    assert view.horizontal_aperture_mm == pytest.approx(20.955)
    assert view.vertical_aperture_offset_mm == 0.0
    view = view_of(catalog, focal_length_mm=50, vertical_aperture_offset_mm=1)
    assert (view.focal_length_mm, view.vertical_aperture_offset_mm) == (50, 1)


def test_offsets_of_the_spec_are_added_to_its_own(catalog: Catalog) -> None:
    assert view_of(catalog, vertical_aperture_offset_mm=2.0).vertical_aperture_offset_mm == 0.5


def test_each_frame_may_draw_another_one(catalog: Catalog) -> None:
    spec = spec_of(
        camera(placement={"kind": "stage", "prim": {"choice": ["/World/Door", "/World/Above"]}})
    )
    seen = set()
    for frame in range(20):
        found = sample(spec, catalog, frame)
        height = found.cameras[0].cam2world[2][3]
        seen.add((found.values["camera.main.prim"], round(height, 3)))
    assert seen == {("/World/Door", 1.5), ("/World/Above", 4.0)}


def test_hands_shake_it_and_others_are_mounted_on_it(catalog: Catalog) -> None:
    right = {"kind": "mounted", "carrier": "main", "offset_m": [0.5, 0, 0]}
    spec = spec_of(camera(handheld={"translation_mm": 20}), camera("right", right))
    main, other = sample(spec, catalog, 1).cameras
    shaken = matrix4(main.cam2world)[:3, 3] - [1.0, -3.0, 1.5]
    assert 0 < np.abs(shaken).max() < 0.2
    apart = matrix4(other.cam2world)[:3, 3] - matrix4(main.cam2world)[:3, 3]
    assert np.linalg.norm(apart) == pytest.approx(0.5, abs=1e-5)
    assert other.focal_length_mm == pytest.approx(20.955 / 2 / np.tan(np.radians(30)))


def test_what_is_no_camera_is_refused_and_the_cameras_are_listed(catalog: Catalog) -> None:
    prims = {"choice": ["/World/Door", "/World/Box"]}
    spec = spec_of(camera(placement={"kind": "stage", "prim": prims}))
    assert check_against_scene(spec, catalog) == [
        (
            "cameras[0].placement.prim",
            "the scene has no camera '/World/Box'; it has: /World/Above, /World/Door",
        )
    ]
    with pytest.raises(InvalidRequest, match=r"no camera /World/Box; it has /World/Above, /World"):
        catalog.scene_camera("/World/Box")


def test_a_camera_without_area_is_refused_with_what_it_lacks(catalog: Catalog) -> None:
    reason = "/World/Blind.horizontalAperture must be above 0, found 0.0"
    spec = spec_of(camera(placement={"kind": "stage", "prim": "/World/Blind"}))
    assert check_against_scene(spec, catalog) == [
        ("cameras[0].placement.prim", f"the camera /World/Blind cannot see: {reason}")
    ]
    with pytest.raises(InvalidRequest, match=rf"/World/Blind cannot see: {reason}"):
        catalog.scene_camera("/World/Blind")
    assert catalog_from_json(catalog.to_json()) == catalog


def test_it_has_no_target_to_focus_on() -> None:
    with pytest.raises(ValidationError, match="focus: target needs a placement with a target"):
        spec_of(camera(f_stop=2, focus="target"))
