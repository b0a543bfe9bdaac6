"""The compositing guide: its spec is one, and its picture of a stage is read as it says."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import yaml

from simcloud.scene.bundle import make_bundle
from simcloud.scene.catalog import read_catalog
from simcloud.spec.model import Spec

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "docs" / "guides" / "compositing.md"


def block(kind: str) -> str:
    """The only block of a kind."""
    (found,) = re.findall(rf"```{kind}\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    return str(found)


def test_the_guides_spec_is_valid_beside_the_demos() -> None:
    demo = yaml.safe_load((ROOT / "scenes/showroom/composite.yaml").read_text())
    guide = yaml.safe_load(block("yaml"))
    demo["renderer"] = guide["renderer"]
    demo["randomization"]["backgrounds"] = guide["randomization"]["backgrounds"]
    spec = Spec.model_validate(demo)
    assert spec.renderer.mode == "composite"
    assert spec.randomization.backgrounds is not None
    assert spec.randomization.backgrounds.harmonize.support() == (0.5,)


def test_a_scene_with_the_guides_backgrounds_lists_and_carries_them(tmp_path: Path) -> None:
    (stage_text,) = re.findall(r"```\n(def Scope.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    header = '#usda 1.0\n(\n    defaultPrim = "World"\n    upAxis = "Z"\n    metersPerUnit = 1\n)\n'
    (tmp_path / "stage.usda").write_text(f'{header}\ndef Xform "World" {{}}\n\n{stage_text}')
    (tmp_path / "backgrounds").mkdir()
    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    assert cv2.imwrite(str(tmp_path / "backgrounds/room_0.jpg"), picture)
    catalog = read_catalog(tmp_path / "stage.usda")
    assert catalog.background_names == {"room_0"}
    assert catalog.background_picture("room_0") == "backgrounds/room_0.jpg"
    bundle = make_bundle(tmp_path / "stage.usda")
    assert any("room_0.jpg" in str(item) for item in bundle.files)
