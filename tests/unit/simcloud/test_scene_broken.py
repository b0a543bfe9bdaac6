"""Stages that are broken, huge or hostile: refused with what and where."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pxr import Gf, Sdf, UsdGeom, UsdLux, Vt

from simcloud.errors import InvalidRequest
from simcloud.scene.bundle import make_bundle
from simcloud.scene.inspected import SceneInspection, inspection_from_json, inspection_to_json
from simcloud.scene.inspection import inspect_stage
from simcloud.scene.limits import SceneLimits
from simcloud.scene.translate.usd import read_scene
from support import scenes


def problems(path: Path, root: Path | None = None, **limits: int) -> str:
    """Everything that is wrong with a stage."""
    found = inspect_stage(path, root=root, limits=SceneLimits.model_validate(limits))
    return "; ".join(found.problems)


def textured(folder: Path, file: str) -> Path:
    stage = scenes.new_stage()
    scenes.add_texture(scenes.add_material(stage, "/World/Look"), "diffuseColor", file, "rgb")
    scenes.add_cube(stage, "/World/Cube", size=1.0)
    return scenes.save(stage, folder)


def written(folder: Path, body: str, name: str = "stage.usda") -> Path:
    path = folder / name
    path.write_text(f"#usda 1.0\n{body}\n")
    return path


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('def "A" (references = </B>) {}\ndef "B" (references = </A>) {}', "Cycle detected"),
        ('def "A" (payload = @./stage.usda@</A>) {}', "Cycle detected"),
        ('def "A"\n{\n    def "B" (references = </A>) {}\n}', "Cycle detected"),
        ('(\n    subLayers = [@./stage.usda@]\n)\ndef "A" {}', "has cycles"),
        ('def "A" (references = @./gone.usda@) {}', r"Could not open asset .*gone\.usda"),
        ('def "A" (references = @https://x.y/z.usd@) {}', "URLs inside a stage are not fetched"),
        ('def "A" (references = @omniverse://n/z.usd@) {}', "Isaac Sim alone"),
        ('def "A" {', r"is not a stage that can be read: .*stage\.usda:\d+:\d+: "),
    ],
)
def test_stages_that_do_not_compose_are_refused(body: str, words: str, tmp_path: Path) -> None:
    path = written(tmp_path, body)
    with pytest.raises(InvalidRequest, match=words):
        read_scene(path)
    assert problems(path)


def test_everything_that_is_broken_is_told_at_once(tmp_path: Path) -> None:
    path = textured(tmp_path, "./gone.png")
    stage = scenes.new_stage()
    stage.GetRootLayer().TransferContent(Sdf.Layer.FindOrOpen(str(path)))
    UsdGeom.Mesh.Define(stage, "/World/Bad").CreateFaceVertexCountsAttr(Vt.IntArray([3]))
    sky = UsdLux.DomeLight.Define(stage, "/World/Sky")
    sky.CreateTextureFileAttr("https://x.y/sky.exr")
    told = problems(scenes.save(stage, tmp_path, "all.usda"))
    assert "/World/Bad.faceVertexIndices holds 0 indices, its counts ask for 3" in told
    assert "names the texture ./gone.png, which is not there" in told
    assert "/World/Sky names the texture https://x.y/sky.exr: URLs inside a stage" in told


def test_pictures_are_judged_by_their_headers(tmp_path: Path) -> None:
    (tmp_path / "page.png").write_bytes(b"<html>")
    told = problems(textured(tmp_path, "./page.png"))
    assert "/World/Look/Texture_diffuseColor names the texture" in told
    assert "it is no PNG" in told
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 6, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    bomb += struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\0IEND\xaeB`\x82"
    (tmp_path / "bomb.png").write_bytes(bomb)
    assert "30000x30000: at most" in problems(textured(tmp_path, "./bomb.png"))
    assert cv2.imwrite(str(tmp_path / "sky.hdr"), np.ones((2, 4, 3), np.float32))
    assert "of kind hdr: surfaces take bmp, jpeg" in problems(textured(tmp_path, "./sky.hdr"))
    assert cv2.imwrite(str(tmp_path / "fine.png"), np.ones((2, 4, 3), np.uint8))
    assert problems(textured(tmp_path, "./fine.png")) == ""
    told = problems(textured(tmp_path, "./fine.png"), max_texture_total_px=7)
    assert "all textures together have 8 pixels, at most 7" in told


def test_files_outside_the_scene_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "scene"
    folder.mkdir()
    assert cv2.imwrite(str(tmp_path / "secret.png"), np.ones((2, 2, 3), np.uint8))
    told = problems(textured(folder, "../secret.png"), root=folder)
    assert "names the texture ../secret.png, which lies outside" in told
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    assert "lies outside" in problems(textured(folder, "./link.png"), root=folder)
    written(tmp_path, 'def Xform "A" {}', "other.usda")
    path = written(folder, 'def "A" (references = @../other.usda@</A>) {}')
    assert "a scene is one folder" in problems(path, root=folder)
    assert problems(path) == ""


def test_bundles_refuse_absolute_paths_and_folders_that_hold_everything(tmp_path: Path) -> None:
    written(tmp_path, 'def Xform "A" {}', "other.usda")
    path = written(tmp_path, f'def "A" (references = @{tmp_path}/other.usda@</A>) {{}}')
    with pytest.raises(InvalidRequest, match=r"names /.*other\.usda: copy what it needs beside it"):
        make_bundle(path)
    up = "../" * len(tmp_path.parts)
    path = textured(tmp_path, f"{up}etc/passwd")
    with pytest.raises(InvalidRequest, match="keep a scene in a folder of its own"):
        make_bundle(path)
    path = written(tmp_path, 'def "A" (references = @omniverse://n/z.usd@) {}')
    with pytest.raises(InvalidRequest, match=r"omniverse://n/z\.usd \(omniverse:// addresses are"):
        make_bundle(path)


def crowd(count: int) -> Any:
    """A stage of one cube a million times or so."""
    stage = scenes.new_stage()
    scenes.add_cube(stage, "/World/Crowd/One", size=1.0)
    instancer = UsdGeom.PointInstancer.Define(stage, "/World/Crowd")
    instancer.CreatePrototypesRel().AddTarget("/World/Crowd/One")
    instancer.CreateProtoIndicesAttr(Vt.IntArray.FromNumpy(np.zeros(count, np.int32)))
    instancer.CreatePositionsAttr(Vt.Vec3fArray.FromNumpy(np.zeros((count, 3), np.float32)))
    return stage


def test_a_million_instances_are_counted_before_any_is_made(tmp_path: Path) -> None:
    path = scenes.save(crowd(1_000_000), tmp_path, "crowd.usdc")
    told = problems(path)
    assert "1000000 instances or more up to /World/Crowd, at most 200000 are taken" in told
    told = problems(path, max_instances=2_000_000, max_triangles=10_000_000)
    assert "12000000 triangles or more up to /World/Crowd" in told


def test_more_labels_than_ids_are_refused_before_any_instance_is_made(tmp_path: Path) -> None:
    stage = crowd(150_000)
    scenes.set_label(stage.GetPrimAtPath("/World/Crowd/One"), "box")
    told = problems(scenes.save(stage, tmp_path, "crowd.usdc"))
    assert told.startswith("/World/Crowd has 150000 labelled instances or more; at most 65533")


def test_nested_instances_are_multiplied_before_any_is_made(tmp_path: Path) -> None:
    stage = crowd(1000)
    outer = UsdGeom.PointInstancer.Define(stage, "/World/Crowds")
    outer.CreatePrototypesRel().AddTarget("/World/Crowd")
    outer.CreateProtoIndicesAttr(Vt.IntArray.FromNumpy(np.zeros(1000, np.int32)))
    outer.CreatePositionsAttr(Vt.Vec3fArray.FromNumpy(np.zeros((1000, 3), np.float32)))
    assert "1001000 instances or more" in problems(scenes.save(stage, tmp_path))
    inner = UsdGeom.PointInstancer(stage.GetPrimAtPath("/World/Crowd"))
    inner.GetPrototypesRel().SetTargets([Sdf.Path("/World/Crowds")])
    told = problems(scenes.save(stage, tmp_path, "loop.usda"))
    assert "is a prototype of itself" in told
    with pytest.raises(InvalidRequest, match="is a prototype of itself"):
        read_scene(tmp_path / "loop.usda")


def test_instances_of_instances_are_counted_as_prims(tmp_path: Path) -> None:
    layers = ['#usda 1.0\nclass "L0"\n{\n    def Cube "C" {}\n}']
    for level in range(1, 6):
        inside = "".join(
            f'    def "I{n}" (\n        instanceable = true\n        inherits = </L{level - 1}>\n'
            "    ) {}\n"
            for n in range(20)
        )
        layers.append(f'class "L{level}"\n{{\n{inside}}}')
    layers.append('def "World" (\n    inherits = </L5>\n) {}')
    path = tmp_path / "deep.usda"
    path.write_text("\n".join(layers))
    assert "prims or more up to /World/I0" in problems(path, max_prims=3_000)


def test_limits_of_triangles_and_bytes_name_their_setting(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    scenes.add_quad(stage, "/World/A")
    scenes.add_quad(stage, "/World/B")
    path = scenes.save(stage, tmp_path)
    told = problems(path, max_triangles=3)
    assert "4 triangles or more up to /World/B, at most 3 are taken" in told
    assert "(scene_limits.max_triangles)" in told
    assert "has 4 points, which no 1 triangles" in problems(path, max_triangles=1)
    assert "bytes, at most 10 are taken (scene_limits.max_bytes)" in problems(path, max_bytes=10)


def spoiled(name: str) -> Any:
    """A stage with one number that means nothing."""
    stage = scenes.new_stage()
    cube = scenes.add_cube(stage, "/World/Cube", size=1.0, label="box")
    common = UsdGeom.XformCommonAPI(cube)
    field = UsdGeom.PointInstancer.Define(stage, "/World/Field")
    field.CreatePrototypesRel().AddTarget("/World/Cube")
    quad = scenes.add_quad(stage, "/World/Quad")
    scenes.set_uv(quad, [(0, 0)], "constant")
    light = UsdLux.RectLight.Define(stage, "/World/Lamp")
    coordinates = UsdGeom.PrimvarsAPI(quad).GetPrimvar("st")
    spoil: dict[str, Callable[[], object]] = {
        "infinite scale": lambda: common.SetScale(Gf.Vec3f(float("inf"), 1, 1)),
        "zero scale": lambda: common.SetScale(Gf.Vec3f(1, 0, 1)),
        "far away": lambda: common.SetTranslate(Gf.Vec3d(1e39, 0, 0)),
        "no size": lambda: cube.GetSizeAttr().Set(0.0),
        "negative unit": lambda: UsdGeom.SetStageMetersPerUnit(stage, -1.0),
        "strange axis": lambda: stage.GetRootLayer().pseudoRoot.SetInfo("upAxis", "X"),
        "wide light": lambda: light.CreateWidthAttr(float("nan")),
        "bad index": lambda: coordinates.SetIndices(Vt.IntArray([0, 9, 0, 0])),
        "lost instances": lambda: field.CreateProtoIndicesAttr(Vt.IntArray([0, 0])),
        "wild prototype": lambda: field.CreateProtoIndicesAttr(Vt.IntArray([0, 7])),
        "nan instance": lambda: (
            field.CreateProtoIndicesAttr(Vt.IntArray([0])),
            field.CreatePositionsAttr(Vt.Vec3fArray([Gf.Vec3f(float("nan"), 0, 0)])),
        ),
    }
    spoil[name]()
    return stage


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("infinite scale", "the transform of /World/Cube is not finite"),
        ("zero scale", "/World/Cube is labelled, and its transform cannot be inverted"),
        ("far away", "/World/Cube reaches beyond what a float32 can hold"),
        ("no size", "/World/Cube.size must be above 0, found 0.0"),
        ("negative unit", "metersPerUnit must be above 0, found -1.0"),
        ("strange axis", "upAxis must be Y or Z, found X"),
        ("wide light", "/World/Lamp.inputs:width must be above 0"),
        ("bad index", "primvars:st holds the index 9, out of range for 1 values"),
        ("lost instances", "has 2 indices and 0 transforms"),
        ("wild prototype", "protoIndices holds 7, there are 1 prototypes"),
        ("nan instance", "an instance of /World/Field is not finite"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(name: str, words: str, tmp_path: Path) -> None:
    path = scenes.save(spoiled(name), tmp_path)
    assert words in problems(path)
    with pytest.raises(InvalidRequest):
        read_scene(path)


TRIANGLE = """point3f[] points = [(0, 0, 0), (1, 0, 0), (0, 1, 0)]
    int[] faceVertexCounts = [3]
    int[] faceVertexIndices = [0, 1, 2]"""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("int[] faceVertexCounts = [3]\nint[] faceVertexIndices = [0, 1, 2]", "1 faces and no poi"),
        (TRIANGLE.replace("1, 2]", "1, 7]"), "holds 7, out of range for 3 points"),
        (TRIANGLE.replace("1, 2]", "1, -2]"), "holds -2, out of range for 3 points"),
        ("float points = 3", "/M cannot be read: TypeError"),
        (f"{TRIANGLE}\nnormal3f[] normals = [(0, 0, 1)]", "holds 1 values, too few for vertex"),
    ],
)
def test_broken_meshes_are_named_with_what_is_wrong(body: str, words: str, tmp_path: Path) -> None:
    told = problems(written(tmp_path, f'def Mesh "M"\n{{\n{body}\n}}'))
    assert "/M" in told
    assert words in told


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "/M: a mesh of 0 points and no faces is left out"),
        ("point3f[] points = [(0, 0, 0)]", "/M: a mesh of 1 points and no faces is left out"),
        (
            f"{TRIANGLE}\nrel material:binding = </Gone>",
            "/M: its material /Gone is not there: drawn in its display colour",
        ),
        (
            f'{TRIANGLE}\ndef GeomSubset "S"\n{{\nuniform token elementType = "face"\n'
            'uniform token familyName = "materialBind"\nint[] indices = [5]\n}',
            "/M/S: indices of faces that the mesh of 1 has not, such as 5",
        ),
    ],
)
def test_odd_meshes_are_drawn_and_told(body: str, words: str, tmp_path: Path) -> None:
    schema = '(prepend apiSchemas = ["MaterialBindingAPI"])'
    found = inspect_stage(written(tmp_path, f'def Mesh "M" {schema}\n{{\n{body}\n}}'))
    assert found.problems == ()
    assert words in found.unsupported


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("references = @./gone.usda@", "put the file there, or take out what refers to it"),
        ("payload = @./gone.usda@", "put the file there, or take out what refers to it"),
        ("references = </B>", "there is no such prim: correct the path"),
        ("references = @./other.usda@", "that layer names no default prim"),
    ],
)
def test_missing_references_say_what_to_do(body: str, words: str, tmp_path: Path) -> None:
    written(tmp_path, 'def Xform "A" {}', "other.usda")
    assert words in problems(written(tmp_path, f'def "A" ({body}) {{}}'))


def test_an_inspection_survives_json_and_says_what_was_understood(tmp_path: Path) -> None:
    found = inspect_stage(scenes.furnished_stage(tmp_path))
    assert inspection_from_json(inspection_to_json(found)) == found
    assert found.problems == ()
    assert (found.up_axis, found.metres_per_unit, found.triangles) == ("Z", 1.0, 4)
    assert found.labels == {"can": 0, "carton": 0, "floor": 1}
    assert [(asset.name, asset.label) for asset in found.assets] == [
        ("can", "can"),
        ("crate", "carton"),
    ]
    assert found.assets[1].size_m == (1.0, 1.0, 1.0)
    assert [(light.path, light.kind) for light in found.lights] == [("/World/Lamp", "area")]
    assert found.total_bytes == (tmp_path / "stage.usda").stat().st_size


def test_what_is_probably_not_meant_is_hinted(tmp_path: Path) -> None:
    stage = scenes.new_stage(metres_per_unit=100.0)
    scenes.add_cube(stage, "/World/House", size=1000.0)
    scenes.add_library_asset(stage, "crate", None)
    scenes.add_cube(stage, "/Library/crate/Body", size=1.0)
    hints = "; ".join(inspect_stage(scenes.save(stage, tmp_path)).hints)
    assert "the stage is 1e+05 m across: set metersPerUnit" in hints
    assert "the stage has no light" in hints
    assert "nothing is labelled" in hints
    assert "/Library/crate: its origin is 50 m from the centre of its base" in hints
    assert "/Library/crate has no label" in hints


def test_an_empty_stage_is_no_problem_but_a_hint(tmp_path: Path) -> None:
    found = inspect_stage(scenes.save(scenes.new_stage(), tmp_path))
    assert isinstance(found, SceneInspection)
    assert found.problems == ()
    assert "there is nothing to draw" in found.hints[0]
