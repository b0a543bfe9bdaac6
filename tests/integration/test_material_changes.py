"""Pictures of materials that differ in a frame: as if the stage itself had said so."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from pxr import Sdf

from simcloud.spec.parameters import (
    Finish,
    FrameParameters,
    MaterialBinding,
    MaterialChange,
    RectLight,
)
from simcloud_generator.backends.mitsuba.backend import MitsubaBackend
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings
from support import scenes

Picture = npt.NDArray[np.uint8]
LOOK, PLATE = "/World/Looks/look", "/World/Plate"
PARAMETERS = FrameParameters(
    frame=0,
    render_seed=7,
    cameras=(replace(scenes.camera((0.0, -1.2, 1.2), size=(24, 18)), exposure_ev=0.0),),
    rect_lights=(
        RectLight(
            name="key",
            position_m=(0.4, 0.8, 1.5),
            orientation_wxyz=(1.0, 0.0, 0.0, 0.0),
            width_m=0.6,
            height_m=0.6,
            radiance_rgb=(6.0, 6.0, 6.0),
        ),
    ),
)


def plate(folder: Path, plain: str = "", value: float = 0.0) -> Path:
    """A plate of two textures, roughness in red, metallic in green; one may have a plain value."""
    ramp = np.zeros((8, 8, 3), np.uint8)
    ramp[..., 2] = np.linspace(40, 250, 8).astype(np.uint8)
    ramp[..., 1] = ramp[..., 2].T
    assert cv2.imwrite(str(folder / "ramp.png"), ramp)
    for name, color in (("red", (0, 0, 255)), ("blue", (255, 0, 0))):
        assert cv2.imwrite(str(folder / f"{name}.png"), np.full((4, 4, 3), color, np.uint8))
    stage = scenes.new_stage()
    look = scenes.add_material(stage, LOOK)
    scenes.add_texture(look, "diffuseColor", "./red.png", "rgb")
    for name, channel in (("roughness", "r"), ("metallic", "g")):
        if name == plain:
            surface = stage.GetPrimAtPath(f"{LOOK}/Surface")
            surface.CreateAttribute(f"inputs:{name}", Sdf.ValueTypeNames.Float).Set(value)
        else:
            scenes.add_texture(look, name, "./ramp.png", channel)
    quad = scenes.add_quad(stage, PLATE)
    scenes.set_uv(quad, [(0, 0), (1, 0), (1, 1), (0, 1)])
    scenes.bind(quad.GetPrim(), look)
    return scenes.save(stage, folder)


@pytest.fixture(scope="module")
def backend() -> MitsubaBackend:
    return MitsubaBackend(MitsubaSettings(variant="auto", spp=16, denoise=False))


def drawn(backend: MitsubaBackend, stage: Path, **parameters: Any) -> Picture:
    session = backend.open(stage)
    try:
        found = session.render(replace(PARAMETERS, **parameters), ["rgb"])[0].arrays["rgb"]
        return np.asarray(found, dtype=np.uint8)
    finally:
        session.close()


@pytest.mark.parametrize("name", ["roughness", "metallic"])
def test_a_changed_value_is_drawn_as_the_stages_own(
    backend: MitsubaBackend, tmp_path: Path, name: str
) -> None:
    """The other texture of the same material stays."""
    (tmp_path / "own").mkdir()
    value = 0.25 if name == "roughness" else 0.0
    finish = Finish(roughness=value) if name == "roughness" else Finish(metallic=value)
    change = MaterialChange(LOOK, None, finish)
    stage = plate(tmp_path)
    found = drawn(backend, stage, materials=(change,))
    wanted = drawn(backend, plate(tmp_path / "own", name, value))
    # a plain value that stands in a texture is rounded to ten bits
    assert np.abs(found.astype(int) - wanted).max() <= 2
    assert np.abs(found.astype(int) - drawn(backend, stage)).max() > 10


def test_another_picture_is_drawn_by_the_same_coordinates(
    backend: MitsubaBackend, tmp_path: Path
) -> None:
    stage = plate(tmp_path)
    session = backend.open(stage)
    seen = []
    for texture in ("blue.png", "red.png", "blue.png"):
        change = MaterialBinding(PLATE, None, None, Finish(texture=texture))
        (view,) = session.render(replace(PARAMETERS, bindings=(change,)), ["rgb"])
        seen.append(view.arrays["rgb"])
    session.close()
    assert (seen[0] == seen[2]).all()
    assert (seen[1] == drawn(backend, stage)).all()
    red, _, blue = seen[0].reshape(-1, 3).mean(axis=0)
    assert blue > 2 * red


def test_pictures_that_pass_by_are_forgotten_and_the_scenes_stay(
    backend: MitsubaBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert backend.variant  # its types are there from here on
    from simcloud_generator.backends.mitsuba import texels

    monkeypatch.setattr(texels, "PASSING_TEXELS", 40)
    store = texels.TexelStore(limit_bytes=1 << 20)
    held = []
    for frame in range(12):
        store.begin_frame()
        places = {}
        for key, value, passing in (
            (str(frame), frame / 20, True),
            (f"own{frame // 4}", 0.5, False),
        ):
            make = partial(np.full, (4, 4, 3), value)
            places[key] = value, store.row(key, "repeat", make, passing=passing)
        words = np.array(store.buffer)
        for value, (begin, width, height, _) in places.values():
            wanted = texels.pack_texels(np.full((height, width, 3), value)).ravel()
            assert (words[begin : begin + width * height] == wanted).all()
        held.append(store.held_bytes)
    assert max(held) == 4 * (1 + 16 * (3 + 3))
