"""Light transport of our path tracer agrees with Mitsuba's own and with what is known exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from pxr import Gf, Sdf, UsdGeom, UsdLux

from simcloud.scene.translate.usd import read_scene
from simcloud.spec.parameters import (
    CameraView,
    DiskLight,
    DistantLight,
    FrameParameters,
    RectLight,
    SphereLight,
)
from simcloud_generator.backends.frame_scene import FrameResolver
from simcloud_generator.backends.images import ImageStore
from simcloud_generator.backends.mitsuba.backend import MitsubaBackend
from simcloud_generator.backends.mitsuba.lighting import Lighting
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings
from simcloud_generator.backends.mitsuba.variant import usable
from support import scenes

Array = npt.NDArray[np.float64]

pytestmark = pytest.mark.skipif(
    usable("llvm_ad_rgb") is not None, reason="the scalar variant has Mitsuba's own integrator"
)

SIZE = (16, 12)
SAMPLES = 64
REPEATS = 4


@dataclass(frozen=True, slots=True)
class Both:
    """A frame as both integrators draw it: means over seeds, and the variances of those means."""

    ours: Array
    ours_variance: Array
    theirs: Array
    theirs_variance: Array


@pytest.fixture(scope="module", autouse=True)
def variant() -> None:
    """Mitsuba's modules can be imported once a variant is set."""
    MitsubaBackend(MitsubaSettings(variant="llvm_ad_rgb"))


def images() -> ImageStore:
    return ImageStore(limit_bytes=1 << 28, max_side_px=1024, environment_size=(512, 256))


def ours(
    stage: Path, parameters: FrameParameters, *, depth: int = 4, spp: int = SAMPLES
) -> tuple[Array, Array]:
    """Mean and its variance over seeds, (H, W, 3) linear radiance each."""
    from simcloud_generator.backends.mitsuba.frame_paths import PathTracer

    scene = read_scene(stage)
    settings = MitsubaSettings(spp=spp, max_depth=depth)
    tracer = PathTracer(scene=scene, images=images(), settings=settings)
    lighting = Lighting(dome=None, dome_path=None, rects=parameters.rect_lights)
    frame = tracer.frame(FrameResolver(scene).resolve(parameters), lighting)
    return _statistics(
        [frame.radiance(parameters.cameras[0], seed) for seed in range(50, 50 + REPEATS)]
    )


def theirs(stage: Path, parameters: FrameParameters, *, depth: int) -> tuple[Array, Array]:
    """The same by Mitsuba's ``path``."""
    import mitsuba as mi

    from simcloud_generator.backends.mitsuba.scene import build_scene, sensor

    scene = read_scene(stage)
    lighting = Lighting(dome=None, dome_path=None, rects=parameters.rect_lights)
    frame = FrameResolver(scene).resolve(parameters)
    built = build_scene(scene, frame, lighting, images(), depth)
    view = sensor(parameters.cameras[0], spp=SAMPLES)
    render: Any = mi.render
    return _statistics(
        [
            np.array(render(built, sensor=view, spp=SAMPLES, seed=seed))[..., -3:]
            for seed in range(REPEATS)
        ]
    )


def _statistics(pictures: list[Any]) -> tuple[Array, Array]:
    stack = np.stack(pictures).astype(np.float64)
    return stack.mean(axis=0), stack.var(axis=0, ddof=1) / len(stack)


def view(**changes: Any) -> CameraView:
    camera = scenes.camera((0.0, -4.0, 2.2), (0.0, 0.0, 0.3), size=SIZE, up=(0.0, 0.0, 1.0))
    return replace(camera, exposure_ev=0.0, **changes)


def corner_stage(folder: Path, *, textured: bool = False, **inputs: Any) -> Path:
    """A floor of some material, a box and a wall."""
    stage = scenes.new_stage()
    floor = scenes.add_material(stage, "/World/Looks/floor", **inputs)
    if textured:
        pixels = np.random.default_rng(3).integers(20, 240, (16, 16, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / "spots.png"), pixels)
        for name, output in (("diffuseColor", "rgb"), ("roughness", "g"), ("metallic", "r")):
            scenes.add_texture(floor, name, "./spots.png", output, wrapS="mirror", wrapT="repeat")
    grey = scenes.add_material(stage, "/World/Looks/grey", color=(0.7, 0.7, 0.7), roughness=1.0)
    quad = scenes.add_quad(stage, "/World/Floor", half=2.0)
    scenes.set_uv(quad, [(-0.3, 0.0), (1.7, 0.1), (1.7, 1.6), (-0.3, 1.5)])
    scenes.bind(quad.GetPrim(), floor)
    box = scenes.add_cube(stage, "/World/Box", size=0.8)
    UsdGeom.XformCommonAPI(box).SetTranslate(Gf.Vec3d(0.5, 0.3, 0.5))
    wall = scenes.add_mesh(
        stage, "/World/Wall", [(-2, 2, 0), (2, 2, 0), (2, 2, 2), (-2, 2, 2)], [(0, 1, 2, 3)]
    )
    for mesh in (box, wall):
        scenes.bind(mesh.GetPrim(), grey)
    return scenes.save(stage, folder)


PANEL = RectLight("panel", (0.0, 0.0, 3.0), (1.0, 0.0, 0.0, 0.0), 1.0, 1.5, (8.0, 7.0, 6.0))
LIGHTS: dict[str, dict[str, Any]] = {
    "rect": {"rect_lights": (PANEL,)},
    "sphere": {"lights": (SphereLight("ball", (-0.8, -0.5, 1.5), 0.3, (10.0, 10.0, 10.0)),)},
    "disk": {"lights": (DiskLight("disk", (-0.5, 0, 3), (1.0, 0, 0, 0), 0.6, (10.0, 10.0, 10.0)),)},
    "distant": {"lights": (DistantLight("sun", (0.3, 0.5, -0.8124), (2.0, 2.0, 2.0)),)},
}
ROUGH: dict[str, Any] = {"color": (0.6, 0.4, 0.3), "roughness": 0.5}
CASES: dict[str, tuple[str, dict[str, Any], int]] = {
    "rect": ("rect", ROUGH, 4),
    "sphere": ("sphere", ROUGH, 4),
    "disk": ("disk", ROUGH, 4),
    "distant": ("distant", ROUGH, 4),
    "one surface, glossy": ("rect", {"color": (0.2, 0.3, 0.4), "roughness": 0.1}, 2),
    "roulette": ("rect", ROUGH, 6),
    "metal": ("rect", {"color": (0.9, 0.7, 0.4), "roughness": 0.3, "metallic": 1.0}, 4),
    "textures": ("sphere", {"textured": True}, 4),
}


@pytest.mark.parametrize(("light", "surface", "depth"), CASES.values(), ids=CASES.keys())
def test_radiance_is_that_of_mitsubas_own_integrator(
    light: str, surface: dict[str, Any], depth: int, tmp_path: Path
) -> None:
    parameters = FrameParameters(frame=0, render_seed=3, cameras=(view(),), **LIGHTS[light])
    stage = corner_stage(tmp_path, **surface)
    both = Both(*ours(stage, parameters, depth=depth), *theirs(stage, parameters, depth=depth))

    error = np.sqrt(both.ours_variance.sum() + both.theirs_variance.sum())
    assert error < 0.01 * both.theirs.sum(), "enough samples to tell"
    # besides noise: textures of ten bits, edges of pixels
    assert abs(both.ours.sum() - both.theirs.sum()) < 3.5 * error + 0.001 * both.theirs.sum()


def lone_quad(folder: Path, *, radiance: float = 1.0, **inputs: Any) -> Path:
    """A square in the same light from everywhere."""
    stage = scenes.new_stage()
    quad = scenes.add_quad(stage, "/World/Plate", half=5.0)
    scenes.bind(quad.GetPrim(), scenes.add_material(stage, "/World/Looks/one", **inputs))
    UsdLux.DomeLight.Define(stage, "/World/Sky").CreateIntensityAttr(radiance)
    return scenes.save(stage, folder)


@pytest.mark.parametrize("metallic", [0.0, 1.0])
@pytest.mark.parametrize("roughness", [0.05, 0.4])
@pytest.mark.parametrize("height", [4.0, 0.6])
def test_a_surface_in_a_white_furnace_sends_back_no_more_than_it_gets(
    metallic: float, roughness: float, height: float, tmp_path: Path
) -> None:
    stage = lone_quad(tmp_path, color=(0.95, 0.95, 0.95), roughness=roughness, metallic=metallic)
    camera = replace(scenes.camera((0.0, -1.0, height), (0.0, 0.0, 0.0), size=(8, 8)), near_m=0.01)
    mean, _ = ours(stage, scenes.frame(camera))
    # Rough metal loses what bounces between its facets; a smooth one nothing but its albedo.
    # A dielectric's lobe comes on top of its diffuse one, as in Mitsuba's and Disney's.
    lowest = 0.86 if metallic else 0.90
    assert lowest < mean.mean() < (1.0 if metallic else 1.06)


def test_light_passes_panes_and_holes(tmp_path: Path) -> None:
    image = np.full((8, 8, 4), 255, dtype=np.uint8)
    image[:, :4, 3] = 0
    assert cv2.imwrite(str(tmp_path / "half.png"), image)
    grey: dict[str, Any] = {"color": (0.5, 0.5, 0.5), "roughness": 1.0}
    found = {}
    for name in ("open", "solid", "pane", "hole"):
        stage = scenes.new_stage()
        floor = scenes.add_quad(stage, "/World/Floor", half=1.0)
        scenes.bind(floor.GetPrim(), scenes.add_material(stage, "/World/Looks/grey", **grey))
        if name != "open":
            extra: dict[str, Any] = {"opacity": 0.2, "roughness": 0.02} if name == "pane" else {}
            sheet = scenes.add_material(stage, "/World/Looks/sheet", **{**grey, **extra})
            if name == "hole":
                scenes.add_texture(sheet, "opacity", "./half.png", "a")
                surface = stage.GetPrimAtPath("/World/Looks/sheet/Surface")
                surface.CreateAttribute("inputs:opacityThreshold", Sdf.ValueTypeNames.Float).Set(
                    0.5
                )
            quad = scenes.add_quad(stage, "/World/Sheet", half=4.0, z=2.0)
            # the hole covers all of the light's way
            scenes.set_uv(quad, [(0.2, 0.2), (0.3, 0.2), (0.3, 0.3), (0.2, 0.3)])
            scenes.bind(quad.GetPrim(), sheet)
        camera = replace(scenes.camera((0.0, 0.0, 1.0), size=(8, 8)), near_m=0.01)
        sun = DistantLight("sun", (0.0, 0.0, -1.0), (2.0, 2.0, 2.0))
        parameters = replace(scenes.frame(camera), lights=(sun,))
        # one surface: light from the sheet's own underside is left out
        found[name] = ours(scenes.save(stage, tmp_path), parameters, depth=2)[0].mean()
    assert found["solid"] == 0.0
    assert found["hole"] == pytest.approx(found["open"], rel=1e-3)
    # (1 - R)(1 - opacity), R of both faces of glass of index 1.5: 0.08 / 1.04
    assert found["pane"] / found["open"] == pytest.approx(0.8 * (1.0 - 0.08 / 1.04), rel=1e-3)


def test_noise_falls_as_samples_grow(tmp_path: Path) -> None:
    stage = corner_stage(tmp_path, **ROUGH)
    parameters = FrameParameters(
        frame=0, render_seed=3, cameras=(view(),), rect_lights=(PANEL,), lights=()
    )
    spread = {count: np.median(ours(stage, parameters, spp=count)[1]) * count for count in (4, 256)}
    # Samples whose decisions hang together are worth less and less.
    assert spread[256] < 1.15 * spread[4]


def test_no_surface_is_lit_through_itself(tmp_path: Path) -> None:
    """Bumps steeper than the view leave no light from below."""
    stage = scenes.new_stage()
    points = [(-2.0, -2.0, 0.0), (2.0, -2.0, 0.0), (2.0, 2.0, 0.0), (-2.0, 2.0, 0.0)]
    mesh = scenes.add_mesh(stage, "/World/Plate", points, [(0, 1, 2, 3)])
    mesh.CreateNormalsAttr([Gf.Vec3f(0.0, 0.8, 0.6)] * 4)
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    grey = scenes.add_material(stage, "/World/Looks/grey", color=(0.5, 0.5, 0.5), roughness=0.5)
    scenes.bind(mesh.GetPrim(), grey)
    camera = scenes.camera((0.0, -4.0, 0.8), (0.0, 0.0, 0.0), size=(8, 6), up=(0.0, 0.0, 1.0))
    below = RectLight("below", (0.0, 0.0, -2.0), (0.0, 1.0, 0.0, 0.0), 4.0, 4.0, (9.0, 9.0, 9.0))
    parameters = replace(scenes.frame(camera), rect_lights=(below,))
    mean, _ = ours(scenes.save(stage, tmp_path), parameters)
    assert mean[2:4, 3:5].max() == 0.0
