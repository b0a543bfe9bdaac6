"""The demo's scene with a small camera: a spec to run the whole path with."""

from __future__ import annotations

from pathlib import Path

import yaml

SCENE = Path(__file__).parents[2] / "scenes" / "showroom"


def write_small_spec(folder: Path) -> Path:
    """Writes ``small.yaml`` and what it names; frames are 160x120.

    Returns:
        The spec's path.
    """
    spec = yaml.safe_load((SCENE / "spec.yaml").read_text(encoding="utf-8"))
    spec["scene"]["root"] = str(SCENE / "stage.usda")
    spec["cameras"][0] |= {"width_px": 160, "height_px": 120}
    labels = (SCENE / "coco_labels.yaml").read_text(encoding="utf-8")
    (folder / "coco_labels.yaml").write_text(labels, encoding="utf-8")
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    return path
