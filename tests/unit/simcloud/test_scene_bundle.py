from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from pxr import Sdf, UsdShade

from simcloud.errors import InvalidRequest
from simcloud.scene.bundle import bundle_digest, make_bundle
from support import scenes


def scene(folder: Path) -> Path:
    """A stage in ``room`` that refers to an asset with a texture in ``assets`` beside it."""
    (folder / "assets").mkdir()
    (folder / "room").mkdir()
    (folder / "assets" / "wood.png").write_bytes(b"a picture")
    chair = scenes.new_stage()
    material = scenes.add_material(chair, "/World/Looks/wood")
    scenes.add_texture(material, "diffuseColor", "./wood.png", "rgb")
    scenes.add_cube(chair, "/World/Seat", size=1.0)
    scenes.save(chair, folder / "assets", "chair.usda")
    stage = scenes.new_stage()
    stage.DefinePrim("/World/Chair").GetReferences().AddReference("../assets/chair.usda")
    return scenes.save(stage, folder / "room")


def test_bundle_holds_every_layer_and_texture_with_its_digest(tmp_path: Path) -> None:
    bundle = make_bundle(scene(tmp_path))
    assert bundle.root == tmp_path.resolve()
    assert bundle.stage == "room/stage.usda"
    assert [file.path for file in bundle.files] == [
        "assets/chair.usda",
        "assets/wood.png",
        "room/stage.usda",
    ]
    wood = bundle.files[1]
    assert (wood.size_bytes, wood.sha256) == (9, hashlib.sha256(b"a picture").hexdigest())


def test_digest_is_of_the_sorted_paths_and_contents(tmp_path: Path) -> None:
    bundle = make_bundle(scene(tmp_path), tmp_path)
    lines = "".join(f"{file.path}\0{file.sha256}\n" for file in bundle.files)
    assert bundle.digest == hashlib.sha256(lines.encode()).hexdigest()
    assert bundle_digest([("b", "2"), ("a", "1")]) == bundle_digest([("a", "1"), ("b", "2")])


def test_same_files_elsewhere_have_the_same_digest_and_a_changed_one_has_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first, second = scene(tmp_path / "one"), scene(tmp_path / "two")
    assert make_bundle(first).digest == make_bundle(second).digest
    (tmp_path / "two" / "assets" / "wood.png").write_bytes(b"another picture")
    assert make_bundle(first).digest != make_bundle(second).digest


def omniverse_stage(folder: Path, module: str) -> Path:
    """A box whose material is a module of MDL, as Omniverse writes it."""
    stage = scenes.new_stage()
    material = UsdShade.Material.Define(stage, "/World/Looks/paint")
    shader = UsdShade.Shader.Define(stage, "/World/Looks/paint/Shader")
    shader.SetSourceAsset(Sdf.AssetPath(module), "mdl")
    shader.SetSourceAssetSubIdentifier("OmniPBR", "mdl")
    material.CreateSurfaceOutput("mdl").ConnectToSource(shader.ConnectableAPI(), "out")
    box = scenes.add_cube(stage, "/World/Box", size=1.0)
    UsdShade.MaterialBindingAPI.Apply(box.GetPrim()).Bind(material)
    return scenes.save(stage, folder)


@pytest.mark.parametrize("module", ["OmniPBR.mdl", "nvidia/core_definitions.mdl"])
def test_modules_of_the_renderers_own_library_are_no_files_of_a_scene(
    module: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(omniverse_stage(tmp_path, module))
    assert [file.path for file in bundle.files] == ["stage.usda"]
    assert capfd.readouterr().err == ""  # USD's own warning of it


def test_modules_that_lie_beside_the_stage_belong_to_the_scene(tmp_path: Path) -> None:
    path = omniverse_stage(tmp_path, "./paint.mdl")
    with pytest.raises(InvalidRequest, match=r"needs files that are not there: .*/paint\.mdl"):
        make_bundle(path)
    (tmp_path / "paint.mdl").write_text("mdl 1.4;")
    assert [file.path for file in make_bundle(path).files] == ["paint.mdl", "stage.usda"]


def test_file_outside_the_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"files outside .*room: .*chair\.usda"):
        make_bundle(scene(tmp_path), tmp_path / "room")


def test_link_that_leads_outside_the_root_is_refused(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    path = scene(inside)
    (outside / "secret").write_bytes(b"not ours")
    (inside / "assets" / "wood.png").unlink()
    (inside / "assets" / "wood.png").symlink_to(outside / "secret")
    with pytest.raises(InvalidRequest, match=r"files outside .*secret"):
        make_bundle(path, inside)


def test_missing_dependency_is_refused_by_name(tmp_path: Path) -> None:
    path = scene(tmp_path)
    (tmp_path / "assets" / "wood.png").unlink()
    with pytest.raises(InvalidRequest, match=r"not there: .*wood\.png"):
        make_bundle(path)
    with pytest.raises(InvalidRequest, match="is not a file"):
        make_bundle(tmp_path / "gone.usda")
