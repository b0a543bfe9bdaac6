"""Plug-in randomizers: found by entry point, held to their source, merged without order."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from simcloud.errors import InvalidRequest, PreconditionFailed
from simcloud.spec.distributions import Uniform
from simcloud.spec.model import Spec
from simcloud.spec.origins import origins_named, placed_by
from simcloud.spec.parameters import (
    CameraView,
    DomeLight,
    FrameParameters,
    MaterialBinding,
    PlacedObject,
    RectLight,
    SphereLight,
)
from simcloud.spec.plugin_changes import apply_changes
from simcloud.spec.plugins import check_plugins, randomized, source_sha256, with_source_digests
from simcloud.spec.randomizer import CameraChange, Changes, ObjectChange, PluginDraws
from support.plugins import forget, guide_block, importable, install

IDENTITY = (
    (1.0, 0.0, 0.0, 0.0),
    (0.0, 1.0, 0.0, 0.0),
    (0.0, 0.0, 1.0, 0.0),
    (0.0, 0.0, 0.0, 1.0),
)
CAMERA = CameraView(
    name="main",
    width=64,
    height=48,
    cam2world=IDENTITY,
    focal_length_mm=24.0,
    horizontal_aperture_mm=24.0,
)
FRAME = FrameParameters(
    frame=7,
    render_seed=1,
    objects=(
        PlacedObject(name="parts_00", asset="can", position_m=(1.0, 2.0, 0.0)),
        PlacedObject(name="parts_01", asset="can", position_m=(4.0, 2.0, 0.0)),
    ),
    bindings=(MaterialBinding(prim="/Floor", material="/oak"),),
    cameras=(CAMERA,),
    values={"dome.intensity": 1.0},
)


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Path]:
    with importable(install(tmp_path)):
        yield tmp_path


def make(**plugin: object) -> Spec:
    part = yaml.safe_load(guide_block("plug-in spec"))["randomization"]["plugins"][0]
    return make_all(part | plugin)


def make_all(*plugins: dict[str, Any]) -> Spec:
    return Spec.model_validate(
        {
            "seed": 5,
            "scene": {"root": "stage.usda"},
            "cameras": [
                {
                    "name": "main",
                    "width_px": 64,
                    "height_px": 48,
                    "placement": {"kind": "look_at", "eye": [0, -3, 1], "target": [0, 0, 0]},
                }
            ],
            "randomization": {"plugins": copy.deepcopy(list(plugins))},
        }
    )


@pytest.mark.usefixtures("installed")
def test_the_guides_randomizer_changes_the_frame() -> None:
    after = randomized(make(), FRAME)
    count = after.values["plugin.circle.count"]
    assert 1 <= float(count) <= 5
    assert [item.name for item in after.objects] == [
        "parts_00",
        "parts_01",
        *(f"ring_{index}" for index in range(int(count))),
    ]
    assert after.objects[0].tint_rgb == (0.5, 0.5, 0.5)
    assert after.objects[1] == FRAME.objects[1]
    assert after.values["dome.intensity"] == 1.0
    assert randomized(make(), FRAME) == after
    assert randomized(make(name="other"), FRAME).values.keys() != after.values.keys()


@pytest.mark.usefixtures("installed")
def test_the_order_of_plug_ins_and_the_others_mean_nothing() -> None:
    one = {"name": "one", "randomizer": "ring", "settings": {"around": "parts_00", "asset": "can"}}
    far = {"name": "far", "randomizer": "ring", "settings": {"around": "absent", "asset": "can"}}
    both, turned = make_all(one, far), make_all(far, one)
    assert randomized(both, FRAME) == randomized(turned, FRAME)
    alone = randomized(make_all(one), FRAME)
    assert alone.values.items() <= randomized(both, FRAME).values.items()
    assert alone.objects == randomized(both, FRAME).objects


def test_a_created_run_names_the_source(installed: Path) -> None:
    spec = with_source_digests(make())
    [plugin] = spec.randomization.plugins
    content = (installed / "ring_randomizer.py").read_bytes()
    header = f"ring_randomizer.py\0{len(content)}\0".encode()
    assert plugin.sha256 == hashlib.sha256(header + content).hexdigest()
    assert list(check_plugins(spec)) == []
    assert with_source_digests(spec) == spec


def test_another_source_is_refused(installed: Path) -> None:
    spec = with_source_digests(make())
    install(installed, guide_block("plug-in source") + "\n# changed\n")
    forget()
    with pytest.raises(PreconditionFailed, match="install the same version, or start a new run"):
        randomized(spec, FRAME)
    with pytest.raises(PreconditionFailed, match=r"plugins\[circle\]"):
        list(check_plugins(spec))


def test_the_hash_covers_every_module_of_a_package_and_runs_none(tmp_path: Path) -> None:
    package = tmp_path / "hashed_package"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "inner" / "part.py").write_text("A = 1")
    (package / "data.bin").write_bytes(b"x")
    with importable(tmp_path):
        first = source_sha256("hashed_package")
        (package / "data.bin").write_bytes(b"y")
        assert source_sha256("hashed_package") == first
        (package / "inner" / "part.py").write_text("A = 2")
        assert source_sha256("hashed_package") != first


def test_what_is_not_installed_is_named() -> None:
    with pytest.raises(PreconditionFailed, match="'ring', which is not installed here"):
        with_source_digests(make())
    known = make(sha256="0" * 64)
    assert with_source_digests(known) == known


@pytest.mark.usefixtures("installed")
def test_wrong_settings_are_refused_with_their_path() -> None:
    settings = {"around": "parts_00", "asset": "can", "most": 0}
    [(field, problem)] = check_plugins(make(settings=settings))
    assert field == "randomization.plugins[circle].settings.most"
    assert "greater than or equal to 1" in problem
    with pytest.raises(InvalidRequest, match=r"settings\.colour"):
        with_source_digests(make(settings=settings | {"most": 1, "colour": "red"}))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise RuntimeError('no ring')", "ring in frame 7 raised RuntimeError('no ring')"),
        ("return None", "answered NoneType, not Changes"),
        ("return Changes(values={'count': 1})", "every frame must have ['count', 'radius_m']"),
        ("return 1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_failing_randomizer_is_named_with_its_frame(
    body: str, words: str, tmp_path: Path
) -> None:
    source = guide_block("plug-in source").replace(
        "wanted = frame.settings", f"wanted = frame.settings\n        {body}"
    )
    with importable(install(tmp_path, source)), pytest.raises(InvalidRequest) as caught:
        randomized(make(), FRAME)
    assert caught.value.field == "randomization.plugins[circle]"
    assert words in caught.value.problem


def test_a_module_that_cannot_be_imported_is_a_precondition(tmp_path: Path) -> None:
    with (
        importable(install(tmp_path, "import no_such_module_anywhere")),
        pytest.raises(PreconditionFailed, match="can't be loaded"),
    ):
        with_source_digests(make())


def test_every_change_is_made_and_rounded() -> None:
    lamp = RectLight(
        name="lamp",
        position_m=(0.0, 0.0, 2.1),
        orientation_wxyz=(1.0, 0.0, 0.0, 0.0),
        width_m=1.0,
        height_m=1.0,
        radiance_rgb=(1.0, 1.0, 0.1),
    )
    dome = DomeLight(texture="sky.exr", rotation_deg=0.1, intensity=2.0)
    changes = Changes(
        objects={
            "parts_00": ObjectChange(scale=1.1, labelled=False),
            "parts_01": ObjectChange(removed=True),
        },
        add_rect_lights=(lamp,),
        add_lights=(SphereLight("bulb", (0.0, 0.0, 1.1), 0.1, (1.0, 1.0, 1.0)),),
        dome=dome,
        bindings=(MaterialBinding(prim="/Floor", material="/tile"),),
        cameras={"main": CameraChange(exposure_ev=0.1)},
        values={"x": 0.1},
    )
    after = apply_changes(FRAME, {"mine": changes})
    [kept] = after.objects
    assert (kept.name, kept.labelled) == ("parts_00", False)
    assert kept.scale == pytest.approx(1.1, abs=1e-6)
    assert kept.scale != 1.1
    assert after.rect_lights[0].position_m[2] != 2.1
    assert [light.name for light in after.lights] == ["bulb"]
    assert after.dome is not None
    assert after.dome.texture == "sky.exr"
    assert after.bindings == (MaterialBinding(prim="/Floor", material="/tile"),)
    assert after.cameras[0].exposure_ev == pytest.approx(0.1, abs=1e-7)
    assert list(after.values) == ["dome.intensity", "plugin.mine.x"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"a": Changes(objects={"x": ObjectChange(scale=2.0)})}, "objects[x], which the frame"),
        ({"a": Changes(cameras={"x": CameraChange()})}, "cameras[x], which the frame"),
        ({"a": Changes(add_objects=FRAME.objects[:1])}, "has a 'parts_00' already"),
        (
            {
                "a": Changes(objects={"parts_00": ObjectChange(scale=2.0)}),
                "b": Changes(objects={"parts_00": ObjectChange(scale=3.0)}),
            },
            "changes objects[parts_00].scale, and so does the plug-in a (randomizer acme-a)",
        ),
        (
            {"a": Changes(values={"x": float("nan")})},
            "the plug-in a (randomizer acme-a) answers nan for values[x], which is no float32",
        ),
        (
            {"a": Changes(add_objects=(PlacedObject("z", "crate", (0.0, float("inf"), 0.0)),))},
            "answers inf for add_objects[z].position_m[1]",
        ),
    ],
)
def test_changes_that_cannot_be_made_are_refused(changes: dict[str, Changes], words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        apply_changes(FRAME, changes, randomizers={name: f"acme-{name}" for name in changes})
    assert words in caught.value.problem
    assert "frame 7" in caught.value.problem


def test_random_bits_of_a_plug_in_are_its_own() -> None:
    one, other = PluginDraws(1, 2, "one"), PluginDraws(1, 2, "other")
    share = Uniform(low=0, high=1)
    assert one.real("x", share) == one.real("x", share) != other.real("x", share)


def test_errors_about_what_a_plug_in_placed_name_it_and_the_thing() -> None:
    crate = PlacedObject("extra", "crate", (0.0, 0.0, 0.0))
    floor = MaterialBinding(prim="/Floor", material="/tile")
    changes = {
        "mine": Changes(add_objects=(crate,), bindings=(floor,)),
        "yours": Changes(objects={"parts_01": ObjectChange(scale=0.0)}),
    }
    after = apply_changes(FRAME, changes, randomizers={"mine": "acme-clutter"})
    number = [item.name for item in after.objects].index("extra")

    def told(field: str) -> str:
        with pytest.raises(InvalidRequest) as caught, origins_named(after):
            raise InvalidRequest(field, "is wrong")
        assert caught.value.field == field
        return caught.value.problem

    ours = "is of the plug-in mine (randomizer acme-clutter): is wrong"
    assert told(f"objects[{number}].asset") == f"frame 7: objects[extra] {ours}"
    assert told("bindings[0].material") == f"frame 7: bindings[/Floor] {ours}"
    assert "objects[parts_01] is of the plug-in yours (randomizer yours)" in told("objects[1]")
    assert told("objects[0].asset") == told("dome.texture") == told("session") == "is wrong"
    assert placed_by(after, "extra") == " (of the plug-in mine (randomizer acme-clutter))"
    assert placed_by(after, "parts_00") == ""
