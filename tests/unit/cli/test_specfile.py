"""A spec on disk brings its scene and its labels with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from simcloud.errors import InvalidRequest
from simcloud_cli.naming import default_run_name
from simcloud_cli.specfile import read_spec_file

STAGE = """#usda 1.0
(
    metersPerUnit = 1
    upAxis = "Z"
)
def Xform "World"
{
    def Cube "Box" {}
}
"""
SPEC = """
scene: {root: stage.usda}
cameras:
  - name: main
    width_px: 64
    height_px: 48
    placement: {kind: look_at, eye: [0, -3, 1], target: [0, 0, 0]}
"""


def _scene(folder: Path, spec: str = SPEC) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "stage.usda").write_text(STAGE)
    (folder / "spec.yaml").write_text(spec)
    return folder / "spec.yaml"


def test_the_scene_is_bundled_and_its_digest_filled_in(tmp_path: Path) -> None:
    found = read_spec_file(_scene(tmp_path / "boxes"))
    assert found.name == "boxes"
    assert found.spec.scene.digest == found.bundle.digest
    assert found.spec.scene.root == "stage.usda"
    assert found.counting.labels == {}
    assert read_spec_file(tmp_path / "boxes").spec == found.spec


def test_labels_beside_the_spec_become_the_counting_rule(tmp_path: Path) -> None:
    path = _scene(tmp_path / "boxes")
    (path.parent / "coco_labels.yaml").write_text(
        "labels: {sofa: couch, wall: null}\nignored_predictions: [vase]\n"
    )
    rule = read_spec_file(path).counting
    assert rule.labels == {"sofa": "couch"}
    assert rule.ignored_predictions == ("vase",)


def test_every_problem_of_a_spec_is_said(tmp_path: Path) -> None:
    path = _scene(tmp_path / "bad", SPEC.replace("width_px: 64", "width_px: 0") + "sead: 3\n")
    with pytest.raises(InvalidRequest) as caught:
        read_spec_file(path)
    assert "cameras[0].width_px" in caught.value.message
    assert "sead" in caught.value.message


def test_a_missing_spec_or_scene_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no such file"):
        read_spec_file(tmp_path / "none.yaml")
    path = _scene(tmp_path / "boxes")
    (path.parent / "stage.usda").unlink()
    with pytest.raises(InvalidRequest, match="not a file"):
        read_spec_file(path)


def test_a_run_is_named_after_its_spec_and_digest() -> None:
    assert default_run_name("Show Room!", "045e5e3b" + "0" * 56) == "show-room-045e5e3b"
    assert default_run_name("###", "ab" * 32) == "run-abababab"


def test_pictures_of_materials_become_part_of_the_scene(tmp_path: Path) -> None:
    floor = "{name: floor, prims: [/World/Box], texture: ../tiles/}"
    path = _scene(tmp_path / "boxes", f"{SPEC}randomization: {{materials: [{floor}]}}\n")
    with pytest.raises(InvalidRequest, match=r"materials\[0\]\.texture: .*tiles is not there"):
        read_spec_file(path)
    (tmp_path / "tiles").mkdir()
    (tmp_path / "tiles/blue.png").write_bytes(b"looked at by the generator")
    found = read_spec_file(path)
    (choice,) = found.spec.randomization.materials
    assert choice.texture is not None
    (name,) = choice.texture.support()
    assert [file.path for file in found.bundle.files] == ["stage.usda", name]
    assert found.spec.scene.digest == found.bundle.digest
