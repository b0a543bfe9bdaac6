"""Label arrays and boxes of scenes whose answers are known on paper."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from pxr import Gf, UsdGeom

from simcloud.annotators import UNLABELLED_ID
from simcloud.labels.objects import ObjectLabel
from simcloud.labels.qa import check_view
from simcloud.scene.translate.usd import read_scene
from simcloud.spec.parameters import CameraView, FrameParameters, PlacedObject
from simcloud_generator.backends import tracing
from simcloud_generator.backends.frame_scene import FrameResolver
from simcloud_generator.backends.images import ImageStore
from simcloud_generator.backends.labelling import label_arrays, object_labels
from simcloud_generator.backends.tracing import Tracer
from support import scenes

Array = npt.NDArray[Any]


def labels_of(
    stage: Path, parameters: FrameParameters, *, limit_faces: int = 1_000_000
) -> tuple[dict[str, Array], dict[str, ObjectLabel]]:
    """Labels of a frame's first camera; label QA must pass."""
    images = ImageStore(limit_bytes=1 << 24, max_side_px=256, environment_size=(16, 8))
    frame = FrameResolver(read_scene(stage)).resolve(parameters)
    camera = parameters.cameras[0]
    trace = Tracer(images, limit_faces=limit_faces).trace(frame, camera)
    arrays = label_arrays(frame, camera, trace)
    objects = object_labels(frame, camera, trace, arrays)
    assert check_view(camera, arrays, objects) == []
    return arrays, {item.name: item for item in objects}


def quads(folder: Path) -> Path:
    """A library with a square of one metre."""
    stage = scenes.new_stage()
    scenes.add_library_asset(stage, "plate", "plate")
    scenes.add_quad(stage, "/Library/plate/Body")
    return scenes.save(stage, folder)


def plates(*heights: tuple[str, float, float]) -> tuple[PlacedObject, ...]:
    """Plates by name, x and z."""
    return tuple(
        PlacedObject(name=name, asset="plate", position_m=(x, 0.0, z)) for name, x, z in heights
    )


@pytest.mark.parametrize("size", [(7, 5), (33, 17), (16, 16)])
def test_from_the_middle_of_a_sphere_every_pixel_is_one_radius_away(
    size: tuple[int, int], tmp_path: Path
) -> None:
    view = scenes.camera((0.0, 0.0, 0.0), (0.0, 1.0, 0.0), size=size, up=(0.0, 0.0, 1.0))
    arrays, objects = labels_of(scenes.sphere_stage(tmp_path, 3.0), scenes.frame(view))
    # the sphere is a polyhedron, at most 0.5 % inside the true one
    assert arrays["distance_to_camera"] == pytest.approx(3.0, rel=5e-3)
    assert (arrays["instance_segmentation"] == 2).all()
    ball = objects["/World/Ball"]
    assert ball.visible_px == ball.amodal_px == size[0] * size[1]
    assert ball.box2d_tight == (0, 0, size[0], size[1])
    # normals face the camera, back along the rays
    middle = arrays["normals"][size[1] // 2, size[0] // 2]
    assert middle[1] < -0.99


def test_inside_a_cube_the_depth_of_the_wall_ahead_is_constant(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    scenes.add_cube(stage, "/World/Room", size=4.0, label="room")
    view = scenes.camera((0, 0, 0), (0, 1, 0), size=(33, 17), up=(0, 0, 1), focal_length_mm=24.0)
    arrays, _ = labels_of(scenes.save(stage, tmp_path), scenes.frame(view))
    assert np.allclose(arrays["distance_to_image_plane"], 2.0, rtol=1e-6)
    # half a picture's width is 0.5 of the distance at 24 mm
    corner = 2.0 * np.sqrt(1 + 0.5**2 * ((32 / 33) ** 2 + (16 / 33) ** 2))
    assert arrays["distance_to_camera"][0, 0] == pytest.approx(corner, rel=1e-5)
    assert np.allclose(arrays["normals"], [0.0, -1.0, 0.0], atol=1e-6)


def test_boxes_of_a_plate_are_where_projection_says(tmp_path: Path) -> None:
    # 4 m away at 24 mm and 64 px: 16 px per metre, so a plate of 1 m is 16 px wide
    arrays, objects = labels_of(
        quads(tmp_path), scenes.frame(scenes.camera(), objects=plates(("a", 0.0, 0.0)))
    )
    plate = objects["a"]
    assert plate.box2d_tight == plate.box2d_loose == (24, 16, 40, 32)
    assert plate.visible_px == plate.amodal_px == 256
    assert (plate.occlusion, plate.truncation) == (0.0, 0.0)
    assert plate.distance_m == pytest.approx(4.0)
    assert arrays["semantic_segmentation"][20, 30] == 2
    assert np.isinf(arrays["distance_to_camera"][0, 0])
    assert (arrays["normals"][0, 0] == 0).all()


def test_occlusion_is_the_share_that_the_plate_before_it_hides(tmp_path: Path) -> None:
    # the near plate at 2 m is 32 px wide (columns 48 - 16 .. 48 + 16): it hides half of the far one
    _, objects = labels_of(
        quads(tmp_path),
        scenes.frame(scenes.camera(), objects=plates(("far", 0.0, 0.0), ("near", 0.5, 2.0))),
    )
    far, near = objects["far"], objects["near"]
    assert near.box2d_tight == (32, 8, 64, 40)
    assert near.occlusion == 0.0
    assert far.box2d_loose == (24, 16, 40, 32)
    assert far.box2d_tight == (24, 16, 32, 32)
    assert (far.visible_px, far.amodal_px, far.occlusion) == (128, 256, 0.5)


def test_distractor_hides_others_and_is_no_object_itself(tmp_path: Path) -> None:
    below, above = plates(("below", 0.0, 0.0), ("above", 0.5, 1.0))
    stage = quads(tmp_path)
    labelled, plain = labels_of(stage, scenes.frame(scenes.camera(), objects=(below, above)))
    hidden = dataclasses.replace(above, labelled=False)
    arrays, objects = labels_of(stage, scenes.frame(scenes.camera(), objects=(below, hidden)))
    assert objects == {"below": plain["below"]}
    assert objects["below"].occlusion > 0
    where = labelled["instance_segmentation"] == plain["above"].instance_id
    assert (arrays["instance_segmentation"][where] == UNLABELLED_ID).all()
    assert (arrays["semantic_segmentation"][where] == UNLABELLED_ID).all()
    np.testing.assert_array_equal(arrays["distance_to_camera"], labelled["distance_to_camera"])


def test_object_that_is_hidden_wholly_keeps_its_loose_box_alone(tmp_path: Path) -> None:
    _, objects = labels_of(
        quads(tmp_path),
        scenes.frame(scenes.camera(), objects=plates(("far", 0.0, 0.0), ("near", 0.0, 2.0))),
    )
    far = objects["far"]
    assert far.box2d_tight is None
    assert far.box2d_loose == (24, 16, 40, 32)
    assert (far.visible_px, far.occlusion) == (0, 1.0)


def test_truncation_is_the_share_of_the_box_beyond_the_picture(tmp_path: Path) -> None:
    # 32 px are 2 m: a plate centred on the edge is cut in half
    _, objects = labels_of(
        quads(tmp_path),
        scenes.frame(scenes.camera(), objects=plates(("cut", 2.0, 0.0), ("out", 9.0, 0.0))),
    )
    assert objects["cut"].truncation == pytest.approx(0.5)
    assert objects["cut"].box2d_loose == (56, 16, 64, 32)
    assert objects["cut"].occlusion == 0.0
    assert objects["out"].truncation == 1.0
    assert objects["out"].box2d_loose is None
    assert (objects["out"].amodal_px, objects["out"].occlusion) == (0, 1.0)


def test_object_behind_the_camera_is_listed_without_pixels(tmp_path: Path) -> None:
    _, objects = labels_of(
        quads(tmp_path), scenes.frame(scenes.camera(), objects=plates(("behind", 0.0, 6.0)))
    )
    assert objects["behind"].amodal_px == 0
    assert objects["behind"].truncation == 1.0


@pytest.mark.parametrize("offset", [(3.0, 0.0), (0.0, 3.0), (-1.5, 4.5)])
def test_aperture_offset_moves_the_picture_against_its_window(
    offset: tuple[float, float], tmp_path: Path
) -> None:
    view = scenes.camera(offset_mm=offset)
    _, objects = labels_of(quads(tmp_path), scenes.frame(view, objects=plates(("a", 0.0, 0.0))))
    # 64 px are 24 mm
    shift_x, shift_y = -offset[0] * 64 / 24, offset[1] * 64 / 24
    assert objects["a"].box2d_tight == (
        24 + shift_x,
        16 + shift_y,
        40 + shift_x,
        32 + shift_y,
    )


def test_scale_and_turn_of_an_object_are_in_its_matrix_not_in_its_box(tmp_path: Path) -> None:
    half = float(np.sqrt(0.5))
    placed = PlacedObject(
        name="a",
        asset="plate",
        position_m=(0.5, 0.0, 0.0),
        orientation_wxyz=(half, 0.0, 0.0, half),
        scale=2.0,
    )
    _, objects = labels_of(quads(tmp_path), scenes.frame(scenes.camera(), objects=(placed,)))
    plate = objects["a"]
    assert (plate.box3d_min, plate.box3d_max) == ((-0.5, -0.5, 0.0), (0.5, 0.5, 0.0))
    assert np.allclose(np.asarray(plate.local2world)[:3, :3], [[0, -2, 0], [2, 0, 0], [0, 0, 2]])
    assert plate.box2d_tight == (24, 8, 56, 40)


def test_near_and_far_planes_cut_labels(tmp_path: Path) -> None:
    stage = quads(tmp_path)
    objects = plates(("a", 0.0, 0.0))
    for changes in ({"near_m": 4.5}, {"far_m": 3.5}):
        view = dataclasses.replace(scenes.camera(), **changes)  # type: ignore[arg-type]
        arrays, found = labels_of(stage, scenes.frame(view, objects=objects))
        assert found["a"].visible_px == 0
        assert np.isinf(arrays["distance_to_camera"]).all()


def test_holes_of_an_opacity_texture_are_neither_hit_nor_counted(tmp_path: Path) -> None:
    # left half opaque, right half a hole
    image = np.full((16, 16, 4), 255, dtype=np.uint8)
    image[:, 8:, 3] = 0
    assert cv2.imwrite(str(tmp_path / "leaf.png"), image)
    stage = scenes.new_stage()
    leaf = scenes.add_material(stage, "/World/Looks/leaf", opacityThreshold=0.5)
    scenes.add_texture(leaf, "opacity", "./leaf.png", "a")
    scenes.add_library_asset(stage, "plate", "plate")
    quad = scenes.add_quad(stage, "/Library/plate/Body")
    scenes.set_uv(quad, [(0, 0), (1, 0), (1, 1), (0, 1)])
    scenes.bind(quad.GetPrim(), leaf)
    scenes.add_library_asset(stage, "board", "board")
    scenes.add_quad(stage, "/Library/board/Body")
    path = scenes.save(stage, tmp_path)
    _, objects = labels_of(
        path,
        scenes.frame(
            scenes.camera(),
            objects=(
                PlacedObject(name="leaf", asset="plate", position_m=(0.0, 0.0, 0.0)),
                PlacedObject(name="board", asset="board", position_m=(0.0, 0.0, -0.01)),
            ),
        ),
    )
    assert objects["leaf"].box2d_tight == objects["leaf"].box2d_loose == (24, 16, 32, 32)
    assert objects["leaf"].amodal_px == 128
    assert objects["board"].box2d_tight is not None
    assert objects["board"].box2d_tight[0] == 32


def test_labels_do_not_depend_on_what_the_cache_still_holds(tmp_path: Path) -> None:
    stage = quads(tmp_path)
    parameters = scenes.frame(
        scenes.camera(), objects=plates(("far", 0.0, 0.0), ("near", 0.5, 2.0))
    )
    kept = labels_of(stage, parameters)
    dropped = labels_of(stage, parameters, limit_faces=1)
    assert kept[1] == dropped[1]
    for name, array in kept[0].items():
        assert array.tobytes() == dropped[0][name].tobytes()


@pytest.mark.parametrize("rays", [1, 70, 64 * 47])
def test_labels_do_not_depend_on_how_many_rays_are_traced_at_once(
    rays: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = quads(tmp_path)
    parameters = scenes.frame(
        scenes.camera(), objects=plates(("far", 0.0, 0.0), ("near", 0.5, 2.0))
    )
    whole, objects = labels_of(stage, parameters)
    monkeypatch.setattr(tracing, "RAYS_AT_ONCE", rays)
    again, same_objects = labels_of(stage, parameters)
    assert same_objects == objects
    assert {name: array.tobytes() for name, array in again.items()} == {
        name: array.tobytes() for name, array in whole.items()
    }


def test_static_prims_are_measured_in_their_own_frame(tmp_path: Path) -> None:
    stage = scenes.new_stage(up_axis="Y", metres_per_unit=0.01)
    quad = scenes.add_cube(stage, "/World/Crate", size=100.0, label="crate")
    UsdGeom.XformCommonAPI(quad).SetTranslate(Gf.Vec3d(0.0, 50.0, 0.0))
    view = scenes.camera((0, -4, 0.5), (0, 0, 0.5), up=(0, 0, 1))
    _, objects = labels_of(scenes.save(stage, tmp_path), scenes.frame(view))
    crate = objects["/World/Crate"]
    assert np.allclose(np.asarray(crate.local2world)[:3, 3], [0.0, 0.0, 0.5], atol=1e-6)
    assert crate.box3d_max == pytest.approx((0.5, 0.5, 0.5))
    assert crate.box2d_tight is not None


def _camera_size(view: CameraView) -> tuple[int, int]:
    return view.width, view.height


def test_picture_of_one_pixel_has_labels(tmp_path: Path) -> None:
    view = scenes.camera(size=(1, 1))
    arrays, objects = labels_of(quads(tmp_path), scenes.frame(view, objects=plates(("a", 0, 0))))
    assert _camera_size(view) == arrays["instance_segmentation"].shape
    assert objects["a"].box2d_tight == (0, 0, 1, 1)
