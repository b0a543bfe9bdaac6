"""Pictures agree with labels: the same camera, the same texture coordinates, the same sky."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import OpenEXR
import pytest
from pxr import Sdf

from simcloud.errors import InvalidRequest
from simcloud.spec.parameters import (
    CameraView,
    DiskLight,
    DistantLight,
    DomeLight,
    FrameParameters,
    MaterialBinding,
    PlacedObject,
    RectLight,
    ShapeLight,
    SphereLight,
)
from simcloud_generator.backends.mitsuba.backend import MitsubaBackend
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings
from support import scenes

Array = npt.NDArray[Any]


@pytest.fixture(scope="module")
def backend() -> MitsubaBackend:
    """Many samples and no denoiser: what is drawn is what is there."""
    return MitsubaBackend(MitsubaSettings(variant="auto", spp=16, denoise=False))


def arrays_of(
    backend: MitsubaBackend, stage: Path, parameters: FrameParameters
) -> dict[str, Array]:
    session = backend.open(stage)
    try:
        return session.render(parameters, ["rgb"])[0].arrays
    finally:
        session.close()


def fixed(view: CameraView) -> CameraView:
    """The camera without auto exposure."""
    return replace(view, exposure_ev=0.0)


def lamp(folder: Path, *, cut_out: bool = False) -> Path:
    """A library with a plate that glows in three colours by quarter, and is black in the fourth."""
    image = np.zeros((64, 64, 4), dtype=np.uint8)
    image[:32, :32] = (0, 0, 255, 255)  # OpenCV's order: upper left red
    image[:32, 32:] = (0, 255, 0, 255)  # upper right green
    image[32:, :32] = (255, 0, 0, 255)  # lower left blue
    image[32:, 32:] = (255, 255, 255, 0 if cut_out else 255)
    assert cv2.imwrite(str(folder / "quarters.png"), image)
    stage = scenes.new_stage()
    material = scenes.add_material(stage, "/World/Looks/quarters", roughness=1.0)
    scenes.add_texture(material, "diffuseColor", "./quarters.png", "rgb")
    if cut_out:
        scenes.add_texture(material, "opacity", "./quarters.png", "a")
        surface = stage.GetPrimAtPath("/World/Looks/quarters/Surface")
        surface.CreateAttribute("inputs:opacityThreshold", Sdf.ValueTypeNames.Float).Set(0.5)
    scenes.add_library_asset(stage, "plate", "plate")
    quad = scenes.add_quad(stage, "/Library/plate/Body", half=1.0)
    scenes.set_uv(quad, [(0, 0), (1, 0), (1, 1), (0, 1)])
    scenes.bind(quad.GetPrim(), material)
    return scenes.save(stage, folder)


PLATE = (PlacedObject(name="a", asset="plate", position_m=(0.3, -0.2, 0.0)),)
OVERHEAD = RectLight(
    name="key",
    position_m=(0.0, 0.0, 8.0),
    orientation_wxyz=(1.0, 0.0, 0.0, 0.0),
    width_m=6.0,
    height_m=6.0,
    radiance_rgb=(4.0, 4.0, 4.0),
)


def lit(view: CameraView) -> FrameParameters:
    return FrameParameters(
        frame=0, render_seed=3, objects=PLATE, rect_lights=(OVERHEAD,), cameras=(fixed(view),)
    )


@pytest.mark.parametrize(
    ("size", "offset"), [((64, 48), (0.0, 0.0)), ((33, 17), (3.0, -2.0)), ((48, 64), (-4.0, 5.0))]
)
def test_what_is_drawn_stands_where_the_labels_say(
    backend: MitsubaBackend,
    size: tuple[int, int],
    offset: tuple[float, float],
    tmp_path: Path,
) -> None:
    view = scenes.camera((0.5, -0.5, 4.0), (0.2, -0.3, 0.0), size=size, offset_mm=offset)
    arrays = arrays_of(backend, lamp(tmp_path), lit(view))
    drawn = arrays["rgb"].max(axis=2) > 20
    labelled = arrays["instance_segmentation"] == 2
    assert labelled.any()
    outline = cv2.dilate(labelled.astype(np.uint8), np.ones((3, 3), np.uint8)) - cv2.erode(
        labelled.astype(np.uint8), np.ones((3, 3), np.uint8)
    )
    assert (drawn == labelled)[outline == 0].all()
    assert (drawn != labelled).sum() <= (outline > 0).sum() / 2


def test_textures_stand_upright(backend: MitsubaBackend, tmp_path: Path) -> None:
    picture = arrays_of(backend, lamp(tmp_path), lit(scenes.camera()))["rgb"].astype(int)
    # the plate's middle is at pixel (32 + 0.3 * 16, 24 + 0.2 * 16)
    centre_x, centre_y = 37, 27
    quarters = {
        "red": picture[centre_y - 8, centre_x - 8],
        "green": picture[centre_y - 8, centre_x + 8],
        "blue": picture[centre_y + 8, centre_x - 8],
    }
    for index, (name, color) in enumerate(quarters.items()):
        assert color.argmax() == index, name
        assert color[index] > 2 * sorted(color)[1], name


def test_holes_are_holes_in_picture_and_labels(backend: MitsubaBackend, tmp_path: Path) -> None:
    arrays = arrays_of(backend, lamp(tmp_path, cut_out=True), lit(scenes.camera()))
    hole = (slice(30, 40), slice(40, 50))
    assert (arrays["instance_segmentation"][hole] == 0).all()
    assert arrays["rgb"][hole].max() < 20
    solid = (slice(14, 24), slice(24, 34))
    assert (arrays["instance_segmentation"][solid] == 2).all()


def test_tint_and_binding_change_colours_and_no_labels(
    backend: MitsubaBackend, tmp_path: Path
) -> None:
    stage = scenes.furnished_stage(tmp_path)
    plain = scenes.furnished_frame()
    session = backend.open(stage)
    bound = replace(
        plain, bindings=(MaterialBinding(prim="/World/Room", material="/World/Looks/blue"),)
    )
    tinted = replace(
        plain,
        objects=tuple(replace(item, tint_rgb=(0.1, 0.1, 1.0)) for item in plain.objects),
    )
    views = [session.render(item, ["rgb"])[0] for item in (plain, bound, tinted)]
    session.close()
    assert views[0].objects == views[1].objects == views[2].objects
    floor = views[0].arrays["instance_segmentation"] == 2
    red, blue = (view.arrays["rgb"][floor].mean(axis=0) for view in views[:2])
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    crate = views[0].arrays["instance_segmentation"] == 3
    before, after = (views[i].arrays["rgb"][crate].mean(axis=0) for i in (0, 2))
    assert after[2] / after[0] > before[2] / before[0]


@pytest.mark.parametrize(
    ("rotation", "towards"),
    [(0.0, (0.0, -1.0)), (90.0, (1.0, 0.0)), (180.0, (0.0, 1.0)), (-90.0, (-1.0, 0.0))],
)
def test_dome_turns_counter_clockwise_from_minus_y(
    backend: MitsubaBackend, rotation: float, towards: tuple[float, float], tmp_path: Path
) -> None:
    image = np.full((64, 128, 3), 0.05, dtype=np.float32)
    image[:, 56:72] = (4.0, 0.2, 0.2)  # red in the middle
    image[:16] = (0.1, 0.1, 4.0)  # blue above
    with OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION}, {"RGB": image}) as file:
        file.write(str(tmp_path / "sky.exr"))
    stage = scenes.new_stage()
    scenes.add_cube(stage, "/World/Far", size=0.01)
    path = scenes.save(stage, tmp_path)
    eye = (2.0, 2.0, 2.0)
    target = (eye[0] + towards[0], eye[1] + towards[1], eye[2])
    view = scenes.camera(eye, target, size=(33, 33), up=(0, 0, 1), focal_length_mm=6.0)
    picture = arrays_of(
        backend,
        path,
        FrameParameters(
            frame=0,
            render_seed=1,
            dome=DomeLight(texture="sky.exr", rotation_deg=rotation, intensity=1.0),
            cameras=(fixed(view),),
        ),
    )["rgb"].astype(int)
    assert picture[16, 16, 0] > picture[16, 16, 2] + 80, "red ahead"
    assert picture[0, 16, 2] > picture[0, 16, 0] + 80, "blue above"
    assert picture[16, 1].max() < 150, "nothing bright to the side"


def test_scene_without_light_is_black_and_not_an_error(
    backend: MitsubaBackend, tmp_path: Path
) -> None:
    picture = arrays_of(backend, lamp(tmp_path), scenes.frame(scenes.camera(), objects=PLATE))
    assert picture["rgb"].max() == 0


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"objects": (PlacedObject(name="a", asset="gone", position_m=(0, 0, 0)),)}, "asset"),
        ({"objects": PLATE + PLATE}, "there twice"),
        (
            {"objects": (PlacedObject(name="a", asset="plate", position_m=(float("nan"), 0, 0)),)},
            "no proper pose",
        ),
        ({"bindings": (MaterialBinding("/World/Looks", "/World/Looks/gone"),)}, "no material"),
        ({"bindings": (MaterialBinding("/World/x", "/World/Looks/quarters"),)}, "no geometry"),
        ({"dome": DomeLight("gone.exr", 0.0, 1.0)}, "dome.texture"),
    ],
)
def test_frame_that_the_scene_cannot_show_is_refused(
    backend: MitsubaBackend, changes: dict[str, Any], field: str, tmp_path: Path
) -> None:
    parameters = replace(scenes.frame(scenes.camera()), **changes)
    session = backend.open(lamp(tmp_path))
    with pytest.raises(InvalidRequest, match=field):
        session.render(parameters, ["rgb"])
    session.close()


def test_unknown_annotator_is_refused(backend: MitsubaBackend, tmp_path: Path) -> None:
    session = backend.open(lamp(tmp_path))
    with pytest.raises(InvalidRequest, match="annotators: there is no heat"):
        session.render(scenes.frame(scenes.camera()), ["rgb", "heat"])
    session.close()


@pytest.mark.parametrize(
    "light",
    [
        DistantLight("sun", (0.0, 0.0, -1.0), (1.5, 1.5, 1.5)),
        # E = pi L (r / d)^2 below a sphere, pi L r^2 / (d^2 + r^2) below a disk
        SphereLight("bulb", (0.0, 0.0, 6.0), 0.5, (1.5 / np.pi * 144,) * 3),
        DiskLight(
            "spot", (0.0, 0.0, 6.0), (1.0, 0.0, 0.0, 0.0), 0.5, (1.5 / np.pi * (144 + 1),) * 3
        ),
    ],
    ids=lambda light: light.name,
)
def test_lights_of_every_shape_give_the_irradiance_that_they_say(
    backend: MitsubaBackend, light: ShapeLight, tmp_path: Path
) -> None:
    view = fixed(scenes.camera((0.0, 0.5, 4.0), (0.0, 0.0, 0.0), size=(24, 18)))
    stage = scenes.new_stage()
    grey = scenes.add_material(stage, "/World/Looks/grey", color=(0.5, 0.5, 0.5), roughness=1.0)
    scenes.bind(scenes.add_quad(stage, "/World/Floor", half=0.5).GetPrim(), grey)
    path = scenes.save(stage, tmp_path)
    parameters = FrameParameters(frame=0, render_seed=3, lights=(light,), cameras=(view,))
    middle = arrays_of(backend, path, parameters)["rgb"][8:10, 11:13].mean()
    # E = L A / d^2 far below a small panel
    panel = RectLight(
        "panel", (0.0, 0.0, 6.0), (1.0, 0.0, 0.0, 0.0), 0.1, 0.1, (1.5 * 36 / 0.01,) * 3
    )
    same = replace(parameters, lights=(), rect_lights=(panel,))
    assert middle == pytest.approx(
        arrays_of(backend, path, same)["rgb"][8:10, 11:13].mean(), rel=0.04
    )
