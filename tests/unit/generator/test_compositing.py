"""Composite pictures: background where nothing stands, true light on what does, labels as ever."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from simcloud.annotators import ANNOTATORS
from simcloud.errors import InvalidRequest
from simcloud.labels.qa import check_view
from simcloud.scene.translate.types import Texture
from simcloud.scene.translate.usd import read_scene
from simcloud.spec.parameters import BackgroundView, FrameParameters, RectLight
from simcloud_generator.backends.base import RenderedView
from simcloud_generator.backends.compositing.background import window
from simcloud_generator.backends.compositing.light import Light, frame_light
from simcloud_generator.backends.compositing.session import CompositingSession, open_compositing
from simcloud_generator.backends.compositing.settings import CompositingSettings
from simcloud_generator.backends.compositing.shade import shade
from simcloud_generator.backends.compositing.surface import Surfaces
from simcloud_generator.backends.compositing.texels import Texels
from simcloud_generator.backends.frame_scene import FrameResolver
from simcloud_generator.backends.images import ImageStore
from simcloud_generator.backends.labelling import label_arrays
from simcloud_generator.backends.tracing import Tracer
from support import scenes

LAYERS = tuple(name for name, row in ANNOTATORS.items() if row.is_layer)
SETTINGS = CompositingSettings(environment_size=(64, 32), cache_bytes=1 << 24)
PLAIN = BackgroundView(
    picture="back.png",
    zoom=1.0,
    offset=(0.5, 0.5),
    flipped=False,
    gain_rgb=(1.0, 1.0, 1.0),
    blur_px=0.0,
    harmonize=0.5,
    shadow=0.0,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The furnished stage with a sky of its own, and a background of two halves beside it."""
    from pxr import Usd, UsdLux

    made = tmp_path_factory.mktemp("composite")
    stage = Usd.Stage.Open(str(scenes.furnished_stage(made)))
    UsdLux.DomeLight.Define(stage, "/World/Sky").CreateIntensityAttr(1.0)
    stage.Save()
    back = np.full((90, 120, 3), 60, dtype=np.uint8)
    back[:, 60:] = (40, 80, 200)
    assert cv2.imwrite(str(made / "back.png"), back)
    return made


def parameters(view: BackgroundView = PLAIN, **changes: Any) -> FrameParameters:
    made = scenes.furnished_frame(size=(96, 72))
    main, side = made.cameras
    cameras = (main, replace(side, width=60, height=80))
    return replace(made, cameras=cameras, backgrounds=(view, view), **changes)


def session(folder: Path) -> CompositingSession:
    return open_compositing(folder / "stage.usda", SETTINGS)


def test_labels_are_those_of_the_objects_alone_and_pass_every_rule(folder: Path) -> None:
    views = session(folder).render(parameters(), LAYERS)
    assert [view.arrays["rgb"].shape for view in views] == [(72, 96, 3), (80, 60, 3)]
    for view in views:
        assert check_view(view.camera, view.arrays, view.objects) == []
        assert set(view.arrays) == set(LAYERS)
        # the floor is not drawn: it keeps its id, and the background has none
        assert [item.instance_id for item in view.objects] == [3, 4, 5]
        ids = view.arrays["instance_segmentation"]
        assert set(np.unique(ids)) == {0, 3, 4, 5}
        assert ((ids == 0) == np.isinf(view.arrays["distance_to_camera"])).all()


def test_objects_have_the_labels_of_the_full_renderer_where_nothing_else_hides_them(
    folder: Path,
) -> None:
    view = session(folder).render(parameters(), LAYERS)[0]
    images = ImageStore(limit_bytes=1 << 20, max_side_px=64, environment_size=(16, 8))
    frame = FrameResolver(read_scene(folder / "stage.usda")).resolve(parameters())
    trace = Tracer(images, limit_faces=100_000).trace(frame, view.camera)
    full = label_arrays(frame, view.camera, trace)
    objects = full["instance_segmentation"] > 2
    composite = view.arrays["instance_segmentation"] > 0
    # what stands on the floor is hidden by it nowhere
    assert (objects == composite).all()
    for name in ("distance_to_camera", "instance_segmentation", "normals"):
        assert view.arrays[name][objects].tobytes() == full[name][objects].tobytes(), name


def test_background_is_untouched_where_nothing_stands(folder: Path) -> None:
    view = session(folder).render(parameters(), LAYERS)[0]
    near = cv2.dilate((view.arrays["instance_segmentation"] > 0).astype(np.uint8), np.ones((3, 3)))
    picture = cv2.imread(str(folder / "back.png"))
    assert picture is not None
    shown = window(np.ascontiguousarray(picture[:, :, ::-1]), PLAIN, (96, 72))
    rgb = view.arrays["rgb"]
    assert (rgb[near == 0] == shown[near == 0]).all()
    inside = cv2.erode((view.arrays["instance_segmentation"] > 0).astype(np.uint8), np.ones((3, 3)))
    assert (rgb[inside > 0] != shown[inside > 0]).any(axis=-1).mean() > 0.9


def test_frames_are_pure(folder: Path) -> None:
    def digests(views: list[RenderedView]) -> list[bytes]:
        return [view.arrays[name].tobytes() for view in views for name in view.arrays]

    dark = replace(PLAIN, shadow=0.7, flipped=True, zoom=1.3)
    first, second = parameters(), parameters(dark)
    one, other = session(folder), session(folder)
    forward = [digests(one.render(first, LAYERS)), digests(one.render(second, LAYERS))]
    backward = [digests(other.render(second, LAYERS)), digests(other.render(first, LAYERS))]
    assert forward == backward[::-1]


def test_contact_shadows_darken_the_background_below_objects_alone(folder: Path) -> None:
    opened = session(folder)
    plain = opened.render(parameters(), ("rgb",))[0].arrays["rgb"].astype(int)
    dark = opened.render(parameters(replace(PLAIN, shadow=0.8)), ("rgb",))[0].arrays["rgb"]
    change = (dark.astype(int) - plain).sum(axis=-1)
    assert change.max() <= 0
    assert change.min() < -30
    assert (change[:5] == 0).all(), "nothing stands at the picture's top"


def test_a_frame_without_backgrounds_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidRequest, match="0 for 2 cameras"):
        session(folder).render(replace(parameters(), backgrounds=()), ("rgb",))
    missing = parameters(replace(PLAIN, picture="gone.png"))
    with pytest.raises(InvalidRequest, match="is not there"):
        session(folder).render(missing, ("rgb",))


def test_a_frame_without_objects_is_its_background(folder: Path) -> None:
    view = session(folder).render(replace(parameters(), objects=()), LAYERS)[0]
    assert (view.arrays["instance_segmentation"] == 0).all()
    assert view.objects == ()
    assert len(np.unique(view.arrays["rgb"].reshape(-1, 3), axis=0)) >= 2


def surfaces(normal: tuple[float, float, float], **changes: Any) -> Surfaces:
    """One white, rough surface at the origin, seen along its normal."""

    def one(*values: float) -> npt.NDArray[np.float32]:
        return np.asarray(values, dtype=np.float32).reshape(-1, 1)

    made = Surfaces(
        position=one(0, 0, 0),
        normal=one(*normal),
        view=one(*normal),
        albedo=one(0.8, 0.8, 0.8),
        roughness=one(1.0)[0],
        metallic=one(0.0)[0],
        specular=one(0.0)[0],
        emission=one(0, 0, 0),
        height=one(10.0)[0],
    )
    return replace(made, **changes)


@pytest.mark.parametrize("normal", [(0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, -0.6, -0.8)])
def test_under_an_even_sky_a_surface_shows_its_albedo(
    folder: Path, normal: tuple[float, float, float]
) -> None:
    images = ImageStore(limit_bytes=1 << 20, max_side_px=64, environment_size=(64, 32))
    scene = replace(read_scene(folder / "stage.usda"), mesh_lights=())
    light = frame_light(scene, parameters(), None, images)
    radiance, irradiance = shade(surfaces(normal), light)
    assert irradiance[:, 0] == pytest.approx([np.pi] * 3, rel=0.01)
    # a rough dielectric without specular reflects nearly nothing besides
    assert radiance[:, 0] == pytest.approx([0.8] * 3, rel=0.05)


def test_an_area_light_falls_off_with_the_square_of_its_distance(folder: Path) -> None:
    images = ImageStore(limit_bytes=1 << 20, max_side_px=64, environment_size=(64, 32))
    scene = replace(read_scene(folder / "stage.usda"), mesh_lights=(), environments=())

    def irradiance(height: float) -> float:
        lamp = RectLight(
            name="lamp",
            position_m=(0.0, 0.0, height),
            orientation_wxyz=(1.0, 0.0, 0.0, 0.0),
            width_m=0.2,
            height_m=0.1,
            radiance_rgb=(5.0, 5.0, 5.0),
        )
        light = frame_light(scene, parameters(rect_lights=(lamp,)), None, images)
        return float(shade(surfaces((0.0, 0.0, 1.0)), light)[1][0, 0])

    assert irradiance(2.0) == pytest.approx(5 * 0.2 * 0.1 / 4, rel=1e-5)
    assert irradiance(4.0) == pytest.approx(irradiance(2.0) / 4, rel=1e-5)
    assert irradiance(-2.0) == 0.0, "it shines down"


def test_darkness_is_dark() -> None:
    radiance, irradiance = shade(surfaces((0.0, 0.0, 1.0)), Light(surroundings=None, points=()))
    assert (radiance == 0).all()
    assert (irradiance == 0).all()


def gradient() -> npt.NDArray[np.uint8]:
    across = np.linspace(0, 255, 64).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(across[None, :, None], (48, 64, 3)))


def test_window_mirrors_zooms_and_brightens() -> None:
    plain = window(gradient(), PLAIN, (64, 48))
    assert np.abs(plain.astype(int) - gradient()).max() <= 2
    mirrored = window(gradient(), replace(PLAIN, flipped=True), (64, 48))
    assert (mirrored == plain[:, ::-1]).all()
    left = window(gradient(), replace(PLAIN, zoom=2.0, offset=(0.0, 0.0)), (64, 48))
    right = window(gradient(), replace(PLAIN, zoom=2.0, offset=(0.999, 0.0)), (64, 48))
    assert left.max() <= 132
    assert right.min() >= 120
    red = window(gradient(), replace(PLAIN, gain_rgb=(2.0, 1.0, 0.5)), (64, 48))
    middle = red[24, 32].astype(int)
    assert middle[0] > middle[1] > middle[2]


@pytest.mark.parametrize(("wrap", "expected"), [("repeat", 0.0), ("mirror", 1.0), ("clamp", 1.0)])
def test_textures_wrap_as_usd_says(wrap: str, expected: float, tmp_path: Path) -> None:
    picture = np.zeros((16, 16, 3), dtype=np.uint8)
    picture[:, 8:] = 255
    assert cv2.imwrite(str(tmp_path / "half.png"), picture)
    images = ImageStore(limit_bytes=1 << 20, max_side_px=64, environment_size=(16, 8))
    texels = Texels(images, limit_bytes=1 << 20)
    texture = Texture(path=str(tmp_path / "half.png"), srgb=False, wrap=wrap)
    uv = np.array([[1.25], [0.5]], dtype=np.float32)
    assert texels.sample(texture, uv, 0)[:, 0] == pytest.approx([expected] * 3)


def test_small_things_read_reduced_textures(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (256, 256, 3)).astype(np.uint8)
    assert cv2.imwrite(str(tmp_path / "noise.png"), noise)
    images = ImageStore(limit_bytes=1 << 22, max_side_px=256, environment_size=(16, 8))
    texels = Texels(images, limit_bytes=1)
    texture = Texture(path=str(tmp_path / "noise.png"), srgb=False)
    count = 32
    uv = np.stack([np.linspace(0, 1, count), np.full(count, 0.5)]).astype(np.float32)
    level = texels.level(texture, uv, np.arange(count))
    assert level == 3, "256 texels over 32 pixels are 8 a pixel"
    assert texels.sample(texture, uv, level).std() < texels.sample(texture, uv, 0).std() / 3
