"""A spec on disk gets the SHA-256 of its plug-ins' source when it is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from simcloud.errors import PreconditionFailed
from simcloud.spec.plugins import source_sha256
from simcloud_cli.specfile import read_spec_file
from support.plugins import MODULE, guide_block, importable, install
from support.scenes import furnished_stage


def test_the_source_of_plug_ins_is_filled_in(tmp_path: Path) -> None:
    furnished_stage(tmp_path)
    placement = {"kind": "look_at", "eye": [0, -6, 4], "target": [0, 0, 0.3]}
    camera = {"name": "main", "width_px": 48, "height_px": 36, "placement": placement}
    spec = yaml.safe_load(guide_block("plug-in spec")) | {
        "scene": {"root": "stage.usda"},
        "cameras": [camera],
    }
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    with pytest.raises(PreconditionFailed, match="not installed here"):
        read_spec_file(path)
    packages = tmp_path / "packages"
    packages.mkdir()
    with importable(install(packages)):
        [plugin] = read_spec_file(path).spec.randomization.plugins
        assert plugin.sha256 == source_sha256(MODULE)
