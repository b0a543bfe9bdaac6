"""Pictures that a spec names become part of its scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from simcloud.errors import InvalidRequest
from simcloud.scene.bundle import Bundle, make_bundle
from simcloud.scene.catalog import read_catalog
from simcloud.scene.spec_pictures import find_pictures, with_pictures
from simcloud.spec.distributions import Choice, Conditional, Constant, Sequence
from simcloud.spec.model import Spec
from support import scenes


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A scene with a folder of pictures, and another folder beside it."""
    for path, level in (
        ("room/woods/oak.png", 1),
        ("room/woods/ash.JPG", 2),
        ("room/woods/below/deep.png", 3),
        ("elsewhere/tile.png", 4),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        written = cv2.imencode(Path(path).suffix.lower(), np.full((2, 2, 3), level, np.uint8))[1]
        (tmp_path / path).write_bytes(written.tobytes())
    (tmp_path / "room/woods/notes.txt").write_text("no picture")
    stage = scenes.new_stage()
    scenes.add_quad(stage, "/World/Floor")
    scenes.save(stage, tmp_path / "room")
    return tmp_path / "room"


def renamed(room: Path, texture: Any, **parts: Any) -> tuple[Spec, Bundle]:
    placement = {"kind": "look_at", "eye": [0, -3, 1], "target": [0, 0, 0]}
    camera = {"name": "main", "width_px": 8, "height_px": 8, "placement": placement}
    materials = [{"name": "floor", "prims": ["/World/Floor"], "texture": texture}]
    spec = Spec.model_validate(
        {
            "scene": {"root": "stage.usda"},
            "cameras": [camera],
            "randomization": {"materials": materials} | parts,
        }
    )
    bundle = make_bundle(room / "stage.usda")
    return with_pictures(spec, bundle, lambda name: find_pictures(name, room))


def texture_of(spec: Spec) -> Any:
    return spec.randomization.materials[0].texture


def test_a_picture_beside_the_stage_keeps_its_name(room: Path) -> None:
    spec, bundle = renamed(room, "woods/oak.png")
    assert texture_of(spec) == Constant(value="woods/oak.png")
    assert [file.path for file in bundle.files] == ["stage.usda", "woods/oak.png"]
    assert bundle.digest != make_bundle(room / "stage.usda").digest
    assert read_catalog(room / "stage.usda").picture_problem("woods/oak.png") is None


def test_a_picture_from_elsewhere_is_held_by_its_content(room: Path) -> None:
    spec, bundle = renamed(room, "../elsewhere/tile.png")
    (file,) = (file for file in bundle.files if file.path != "stage.usda")
    assert texture_of(spec).value == file.path == f"textures/{file.sha256[:12]}_tile.png"
    assert bundle.local(file) == (room.parent / "elsewhere/tile.png").resolve()


def test_a_folder_is_a_choice_of_its_pictures_which_share_its_weight(room: Path) -> None:
    spec, _ = renamed(room, "woods/")
    assert texture_of(spec) == Choice(values=("woods/ash.JPG", "woods/oak.png"))
    spec, _ = renamed(room, {"weighted": {"woods": 3, "../elsewhere/tile.png": 1}})
    assert texture_of(spec).values[:2] == ("woods/ash.JPG", "woods/oak.png")
    assert texture_of(spec).weights == (1.5, 1.5, 1)
    spec, _ = renamed(room, {"choice": ["woods", "../elsewhere/tile.png"]})
    assert texture_of(spec).weights == (0.5, 0.5, 1)


def test_sequences_and_cases_are_followed(room: Path) -> None:
    spec, _ = renamed(room, {"sequence": ["woods", "woods/oak.png"]})
    assert texture_of(spec) == Sequence(values=("woods/ash.JPG", "woods/oak.png", "woods/oak.png"))
    cases = {"given": "wet", "cases": {"true": "woods"}, "default": "woods/oak.png"}
    spec, _ = renamed(room, cases, values={"wet": {"choice": [True, False]}})
    found = texture_of(spec)
    assert isinstance(found, Conditional)
    assert found.cases["true"] == Choice(values=("woods/ash.JPG", "woods/oak.png"))


def test_a_picture_by_reference_lies_beside_the_stage(room: Path) -> None:
    floor = {"floor": {"choice": ["woods/oak.png"]}}
    _, bundle = renamed(room, {"from": "floor"}, values=floor)
    assert "woods/oak.png" in {file.path for file in bundle.files}
    for name in ("woods", "../elsewhere/tile.png"):
        with pytest.raises(InvalidRequest, match="comes from another value and is no picture"):
            renamed(room, {"from": "floor"}, values={"floor": {"choice": [name]}})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone.png", "gone.png is not there; name a picture or a folder of them"),
        ("woods/below/none", "is not there"),
        ("empty", r"holds no picture \(\.png, "),
    ],
)
def test_what_is_no_picture_is_refused_with_its_field(room: Path, name: str, words: str) -> None:
    (room / "empty").mkdir()
    with pytest.raises(InvalidRequest, match=words) as caught:
        renamed(room, name)
    assert caught.value.field == "randomization.materials[0].texture"


def test_a_scene_says_why_a_picture_cannot_be_drawn(room: Path) -> None:
    catalog = read_catalog(room / "stage.usda")
    assert "has no picture woods/pine.png" in (catalog.picture_problem("woods/pine.png") or "")
    assert "the picture woods/notes.txt: " in (catalog.picture_problem("woods/notes.txt") or "")
