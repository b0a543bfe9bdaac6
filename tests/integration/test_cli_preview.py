"""`simcloud preview` from the outside: the embedded stack, composite frames, sheets and files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from simcloud_cli.contactsheet import CAPTION_PX, GAP_PX
from simcloud_cli.exit_codes import ExitCode

SCENE = Path(__file__).parents[2] / "scenes" / "showroom"
ANNOTATORS = ("rgb", "distance_to_camera", "normals", "motion_vectors", "instance_segmentation")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the composite demo at a small size, its camera moving, and a second camera."""
    folder = tmp_path_factory.mktemp("preview")
    spec = yaml.safe_load((SCENE / "composite.yaml").read_text())
    spec["scene"]["root"] = str(SCENE / "composite.usda")
    main = spec["cameras"][0] | {"width_px": 96, "height_px": 72}
    main["motion"] = {"velocity_m_s": [{"uniform": [1, 2]}, 0, 0]}
    side = main | {"name": "side", "width_px": 60, "height_px": 80}
    spec["cameras"] = [main, side]
    (folder / "small.yaml").write_text(yaml.safe_dump(spec))
    return folder


def _simcloud(folder: Path, *arguments: str) -> tuple[int, Any, str]:
    """Exit code, JSON answer and standard error of a command."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SIMCLOUD_")}
    result = subprocess.run(
        [sys.executable, "-m", "simcloud_cli", *arguments, "--json"],
        cwd=folder,
        env={**kept, "SIMCLOUD_CONFIG": str(folder / "config.yaml")},
        capture_output=True,
        text=True,
        timeout=140,
        check=False,
    )
    answer = json.loads(result.stdout) if result.stdout.strip() else None
    return result.returncode, answer, result.stderr


@pytest.mark.timeout(150)
def test_a_sheet_has_a_row_for_each_frame_and_camera_and_a_column_for_each_annotator(
    workplace: Path,
) -> None:
    code, answer, errors = _simcloud(
        workplace,
        "preview",
        "small.yaml",
        *("--frame", "3", "--frames", "2", "--sheet", "sheet.png", "--cell-width", "96"),
        *("--annotators", ",".join(ANNOTATORS)),
    )
    assert code == ExitCode.COMPLETE, errors
    assert answer == {"frame": 3, "frames": 2, "files": ["sheet.png"]}
    sheet = cv2.imread(str(workplace / "sheet.png"))
    assert sheet is not None
    rows = 2 * (72 + 128 + 2 * (CAPTION_PX + GAP_PX)) + GAP_PX
    assert sheet.shape == (rows, len(ANNOTATORS) * (96 + GAP_PX) + GAP_PX, 3)
    for column in range(len(ANNOTATORS)):
        left = GAP_PX + column * (96 + GAP_PX)
        cell = sheet[GAP_PX : GAP_PX + 72, left : left + 96]
        assert len(np.unique(cell.reshape(-1, 3), axis=0)) > 2, ANNOTATORS[column]


def test_errors_come_before_anything_is_started(workplace: Path) -> None:
    code, answer, errors = _simcloud(
        workplace, "preview", "small.yaml", "--sheet", "sheet.bmp", "--annotators", "rgb"
    )
    assert code not in (ExitCode.COMPLETE, ExitCode.INCOMPLETE)
    assert answer["error"]["reason"] == "INVALID_REQUEST"
    assert "sheet.bmp is none of .jpg, .jpeg, .png" in answer["error"]["message"]
    assert "starting" not in errors
