"""docs/guides/call-the-router.md: its Python runs as written, against a router at its address."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guides" / "call-the-router.md"
PICTURE = ROOT / "docs" / "images" / "showroom.jpg"


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_the_pages_python_runs_as_written(
    router_address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "holiday").mkdir()
    shutil.copy(PICTURE, tmp_path / "photo.jpg")
    shutil.copy(PICTURE, tmp_path / "holiday" / "sea.jpg")
    monkeypatch.chdir(tmp_path)
    *ours, triton = blocks()
    assert len(ours) == 3
    for block in ours:
        exec(block.replace("127.0.0.1:50053", router_address), {"__name__": "page"})
    lines = capsys.readouterr().out.splitlines()
    models = ["efficientnet-lite0 image_classification 1000", "nanodet-g object_detection 80"]
    assert lines[:2] == models
    assert '"label":"couch"' in lines[2].replace(" ", "")
    assert lines[3].startswith("holiday/sea.jpg ['")
    assert lines[4].startswith("sea.jpg True {")
    # Its client needs an environment of its own: tests/conformance makes these calls there.
    compile(triton, str(PAGE), "exec")
