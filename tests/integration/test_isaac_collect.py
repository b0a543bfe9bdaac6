"""Scenes that only Isaac Sim reaches, copied into a folder: what comes along, and what is told.

On the stand-in, with a path in place of an address: the resolver is USD's own, as Isaac's would be.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from pxr import Sdf, Usd, UsdShade

from simcloud_generator.backends.isaac import collect
from support import scenes
from support.isaac import isaac_installed
from support.recorded_api import uninstall
from support.replicator_fake import running


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    uninstall()
    running.clear()


@pytest.fixture
def hall(tmp_path: Path) -> Path:
    """A stage in a folder of its own, with an asset and a picture elsewhere, and Kit's OmniPBR."""
    server = tmp_path / "server"
    (server / "Projects").mkdir(parents=True)
    (server / "Shared").mkdir()
    (server / "Shared" / "wood.png").write_bytes(b"a picture")
    chair = scenes.new_stage()
    material = scenes.add_material(chair, "/World/Looks/wood")
    scenes.add_texture(material, "diffuseColor", f"{server}/Shared/wood.png", "rgb")
    scenes.add_cube(chair, "/World/Seat", size=1.0, label="chair")
    scenes.save(chair, server / "Shared", "chair.usda")
    stage = scenes.new_stage()
    stage.DefinePrim("/World/Chair").GetReferences().AddReference("../Shared/chair.usda")
    shader = UsdShade.Shader.Define(stage, "/World/Looks/paint/Shader")
    shader.SetSourceAsset(Sdf.AssetPath("OmniPBR.mdl"), "mdl")
    return scenes.save(stage, server / "Projects", "hall.usda")


def run(folder: Path, address: Path, target: Path, *, version: str = "6.0.1") -> int:
    with isaac_installed(folder, version=version):
        return collect.main([str(address), str(target)])


def test_a_scene_comes_with_all_that_it_names_and_stands_alone(
    hall: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "copy"
    assert run(tmp_path, hall, target) == collect.OK
    assert f"{target / 'hall.usda'}: 3 files, " in capsys.readouterr().out
    assert running[-1].closed
    hall.parents[1].rename(tmp_path / "gone")  # nothing leads back to the server
    stage = Usd.Stage.Open(str(target / "hall.usda"))
    assert stage.GetPrimAtPath("/World/Chair/Seat").GetTypeName() == "Cube"
    assert not stage.GetCompositionErrors()
    names = sorted(path.name for path in target.rglob("*.*"))
    assert names == ["chair.usda", "hall.usda", "wood.png"]


def test_what_cannot_be_copied_is_named(
    hall: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, tmp_path / "nowhere.usda", tmp_path / "a") == collect.FAILED
    assert "nowhere.usda can't be opened: is the name right" in capsys.readouterr().out
    (hall.parents[1] / "Shared" / "wood.png").unlink()
    assert run(tmp_path, hall, tmp_path / "b") == collect.FAILED
    assert "needs files that are not there" in (said := capsys.readouterr().out)
    assert "wood.png" in said
    assert run(tmp_path, hall, tmp_path / "b") == collect.FAILED
    assert "is not empty: a scene has a folder of its own" in capsys.readouterr().out
    hall.write_text("#usda 1.0\ndef {")
    assert run(tmp_path, hall, tmp_path / "c") == collect.FAILED
    assert "is not a stage that can be read" in capsys.readouterr().out


def test_an_isaac_sim_that_cannot_run_says_why(
    hall: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, hall, tmp_path / "copy", version="5.1.0") == collect.CANNOT_RUN
    assert "this backend knows 6.0, 6.2" in capsys.readouterr().out
