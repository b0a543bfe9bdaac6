"""The Isaac backend driven on a stand-in that is generated from the recorded API.

The stand-in makes its data from the stage that the backend has edited, by the rays of the CPU's
labels, in Replicator's shapes: so what comes out must be the CPU's labels again.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pxr import Gf, UsdGeom

from simcloud.errors import InvalidRequest, PreconditionFailed
from simcloud.scene.translate.usd import read_scene
from simcloud.spec.parameters import (
    BackgroundView,
    FrameParameters,
    MaterialBinding,
    PlacedObject,
    RectLight,
    Vector3,
)
from simcloud_generator.backends.base import RenderedView
from simcloud_generator.backends.frame_scene import FrameResolver
from simcloud_generator.backends.images import ImageStore
from simcloud_generator.backends.isaac.backend import IsaacBackend
from simcloud_generator.backends.isaac.capture import RendererFailed, RendererLost
from simcloud_generator.backends.isaac.preflight import look_for_assets, try_frame
from simcloud_generator.backends.labelling import label_arrays, object_labels
from simcloud_generator.backends.tracing import Tracer
from support.contracts.backend import LAYERS, check_backend
from support.isaac import QUICK, isaac_backend
from support.replicator_fake import Kit
from support.scenes import (
    add_cube,
    add_library_asset,
    add_material,
    add_mesh,
    bind,
    camera,
    furnished_frame,
    furnished_stage,
    new_stage,
    save,
)

SMALL = (32, 24)

Running = tuple[IsaacBackend, Kit]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with isaac_backend(tmp_path) as both:
        yield both


def traced(stage: Path, parameters: FrameParameters) -> list[RenderedView]:
    """The labels that the CPU backend gives a frame."""
    scene = read_scene(stage)
    frame = FrameResolver(scene).resolve(parameters)
    images = ImageStore(limit_bytes=1 << 24, max_side_px=512, environment_size=(2, 1))
    tracer = Tracer(images, limit_faces=10**7)
    views = []
    for view in parameters.cameras:
        trace = tracer.trace(frame, view)
        arrays = label_arrays(frame, view, trace)
        objects = object_labels(frame, view, trace, arrays)
        views.append(RenderedView(camera=view, arrays=arrays, objects=objects, timings={}))
    return views


def test_backend_keeps_the_contract_of_all_backends(running: Running, tmp_path: Path) -> None:
    check_backend(running[0], tmp_path)


def test_labels_are_those_of_the_cpu_backend_frame_after_frame(
    running: Running, tmp_path: Path
) -> None:
    backend, _ = running
    stage = furnished_stage(tmp_path)
    first = furnished_frame(size=SMALL)
    crate, small, can = first.objects
    frames = [
        first,
        replace(first, objects=(replace(crate, position_m=(-0.9, 0.4, 0.0)), small, can)),
        replace(first, objects=(can,)),  # two go
        replace(
            first,
            objects=(replace(crate, asset="can"), small),  # one becomes another, one comes back
            bindings=(MaterialBinding("/World/Room/Floor", "/World/Looks/blue"),),
        ),
        first,
    ]
    session = backend.open(stage)
    for parameters in frames:
        for view, cpu in zip(
            session.render(parameters, ("rgb",)), traced(stage, parameters), strict=True
        ):
            assert_equal_labels(view, cpu)
    session.close()


def test_stage_in_centimetres_with_y_up_gives_metres_with_z_up(
    running: Running, tmp_path: Path
) -> None:
    backend, _ = running
    stage = centimetre_stage(tmp_path)
    parameters = FrameParameters(
        frame=0,
        render_seed=1,
        objects=(
            PlacedObject("one", "box", (0.3, -0.2, 0.0), (0.9238795, 0.0, 0.0, 0.3826834), 1.5),
            PlacedObject("two", "box", (-0.6, 0.4, 0.0), tint_rgb=(0.2, 0.9, 0.4)),
        ),
        rect_lights=(RectLight("lamp-1", (0, 0, 3), (1, 0, 0, 0), 1.0, 1.0, (5, 5, 4)),),
        cameras=(camera((1.8, -2.0, 1.6), (0.0, 0.0, 0.2), size=SMALL, up=(0, 0, 1)),),
    )
    session = backend.open(stage)
    (view,) = session.render(parameters, LAYERS)
    (cpu,) = traced(stage, parameters)
    assert_equal_labels(view, cpu)
    hit = np.isfinite(cpu.arrays["distance_to_camera"])
    np.testing.assert_allclose(view.arrays["normals"][hit], cpu.arrays["normals"][hit], atol=1e-3)
    session.close()


def test_each_capture_is_stepped_by_hand_with_a_frozen_timeline(
    running: Running, tmp_path: Path
) -> None:
    backend, kit = running
    session = backend.open(furnished_stage(tmp_path))
    session.render(furnished_frame(size=SMALL), ("rgb",))
    assert len(kit.step_arguments) == QUICK.warmup_steps + 1
    session.render(furnished_frame(size=SMALL), ("rgb",))
    assert kit.step_arguments == [
        {"rt_subframes": 4, "pause_timeline": True, "delta_time": 0.0, "wait_for_render": True}
    ] * (QUICK.warmup_steps + 2)
    assert not any(product.updating for product in kit.products.values()), "idle cameras rest"
    session.close()
    assert kit.products == {}


def test_path_tracing_takes_the_specs_samples_in_one_subframe(tmp_path: Path) -> None:
    settings = QUICK.model_copy(update={"renderer": "PathTracing"})
    with isaac_backend(tmp_path, settings) as (backend, kit):
        session = backend.open(furnished_stage(tmp_path), samples_per_pixel=32)
        session.render(furnished_frame(size=SMALL), ("rgb",))
        session.close()
    assert backend.variant == "PathTracing"
    assert kit.settings["/rtx/pathtracing/spp"] == kit.settings["/rtx/pathtracing/totalSpp"] == 32
    assert {arguments["rt_subframes"] for arguments in kit.step_arguments} == {1}


def test_start_keeps_the_command_line_and_the_timeline_from_isaac(running: Running) -> None:
    backend, kit = running
    assert sys.argv == ["generator"]
    assert kit.config["headless"] is True
    assert (kit.config["active_gpu"], kit.config["multi_gpu"]) == (0, False)
    assert kit.config["extra_args"] == [
        "--/rtx-transient/resourcemanager/enableTextureStreaming=false"
    ]
    assert not kit.capture_on_play
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    os.kill(os.getpid(), signal.SIGTERM)
    assert backend.application.stopping


def test_opening_a_stage_waits_for_its_assets_and_writes_the_settings_again(
    running: Running, tmp_path: Path
) -> None:
    backend, kit = running
    kit.settings["/rtx/of/the/last/stage"] = True
    session = backend.open(furnished_stage(tmp_path))
    assert kit.loading_waits[-1] == 0
    assert max(kit.loading_waits) > 0
    assert kit.settings == {
        "/rtx/post/dlss/execMode": 2,
        "/exts/omni.replicator.core/maxAssetLoadingTime": QUICK.load_timeout_s,
    }
    assert kit.updates >= QUICK.settle_updates
    session.close()
    missing = tmp_path / "gone.usda"
    with pytest.raises(InvalidRequest):
        backend.open(missing)


def test_another_picture_size_makes_a_new_render_product(running: Running, tmp_path: Path) -> None:
    backend, kit = running
    session = backend.open(furnished_stage(tmp_path))
    for size in (SMALL, (24, 16)):
        for view in session.render(furnished_frame(size=size), ("rgb",)):
            assert view.arrays["rgb"].shape == (size[1], size[0], 3)
    assert {product.size for product in kit.products.values()} == {(24, 16)}
    session.close()


def test_arrays_of_a_frame_survive_the_next_capture(running: Running, tmp_path: Path) -> None:
    backend, _ = running
    session = backend.open(furnished_stage(tmp_path))
    parameters = furnished_frame(size=SMALL)
    views = session.render(parameters, LAYERS)
    copies = [{name: array.copy() for name, array in view.arrays.items()} for view in views]
    session.render(replace(parameters, objects=()), LAYERS)
    for view, copy in zip(views, copies, strict=True):
        for name, array in copy.items():
            assert view.arrays[name].tobytes() == array.tobytes(), name
    session.close()


@pytest.mark.parametrize("faults", ["stopping=4", "ignore=4", "ignore=5"])
def test_capture_that_did_not_happen_is_repeated(faults: str, tmp_path: Path) -> None:
    with isaac_backend(tmp_path, faults=faults) as (backend, _):
        stage = furnished_stage(tmp_path)
        session = backend.open(stage)
        first = furnished_frame(size=SMALL)
        moved = replace(first, objects=first.objects[1:])
        for parameters in (first, moved, moved, first):
            for view, cpu in zip(
                session.render(parameters, ("rgb",)), traced(stage, parameters), strict=True
            ):
                assert_equal_labels(view, cpu)
        session.close()


def test_data_that_stay_those_of_another_frame_end_the_process(tmp_path: Path) -> None:
    with isaac_backend(tmp_path, faults="frozen") as (backend, _):
        folder = tmp_path / "first"
        folder.mkdir()
        backend.open(furnished_stage(folder)).close()  # the fault begins with the second stage
        session = backend.open(furnished_stage(tmp_path))
        session.render(furnished_frame(size=SMALL), ("rgb",))
        with pytest.raises(RendererLost, match="focus distance") as caught:
            session.render(furnished_frame(size=SMALL), ("rgb",))
        assert isinstance(caught.value, SystemExit)
        session.close()


def test_annotator_without_data_is_an_error_of_the_frame(tmp_path: Path) -> None:
    with isaac_backend(tmp_path, faults="none=camera_params") as (backend, _):
        session = backend.open(furnished_stage(tmp_path))
        with pytest.raises(RendererFailed, match="camera_params: no data"):
            session.render(furnished_frame(size=SMALL), ("rgb",))
        session.close()


def test_test_frame_passes_and_finds_darkness_and_missing_labels(tmp_path: Path) -> None:
    found = {}
    for faults in ("", "dark", "unlabelled", "none=rgb"):
        with isaac_backend(tmp_path, faults=faults) as (backend, _):
            found[faults] = try_frame(backend)
    assert [check.ok for check in found.values()] == [True, False, False, False]
    assert "empty" in found["dark"].detail
    assert "labels" in found["unlabelled"].detail
    assert "rgb" in found["none=rgb"].detail


def test_missing_assets_are_told_and_stop_nothing(tmp_path: Path) -> None:
    with isaac_backend(tmp_path, faults="offline") as (backend, _):
        check = look_for_assets(backend.settings)
        assert not check.ok
        assert "isaac.asset_root" in check.detail
        assert try_frame(backend).ok


def test_exposure_is_automatic_until_a_camera_names_one(running: Running, tmp_path: Path) -> None:
    backend, kit = running
    session = backend.open(furnished_stage(tmp_path))
    parameters = furnished_frame(size=(8, 6))
    session.render(parameters, ("rgb",))
    assert kit.settings["/rtx/post/histogram/enabled"] is True
    fixed = tuple(replace(item, exposure_ev=1.5) for item in parameters.cameras)
    session.render(replace(parameters, cameras=fixed), ("rgb",))
    assert kit.settings["/rtx/post/histogram/enabled"] is False
    prim = kit.stage.GetPrimAtPath("/Simcloud/Cameras/main")
    assert UsdGeom.Camera(prim).GetExposureAttr().Get() == 1.5
    session.close()


def test_unknown_signatures_are_refused_with_everything_that_differs(tmp_path: Path) -> None:
    with (
        pytest.raises(PreconditionFailed) as caught,
        isaac_backend(tmp_path, faults="signature"),
    ):
        pass
    message = str(caught.value)
    for part in (
        "pause_timeline is False by default, recorded is True",
        "has no parameter delta_time",
        "has no parameter wait_for_render",
    ):
        assert f"omni.replicator.core.orchestrator.step: {part}" in message
    assert len(caught.value.violations) == 3


def test_composite_pictures_are_refused(running: Running, tmp_path: Path) -> None:
    session = running[0].open(furnished_stage(tmp_path))
    background = BackgroundView(
        picture="x.png",
        zoom=1.0,
        offset=(0.0, 0.0),
        flipped=False,
        gain_rgb=(1.0, 1.0, 1.0),
        blur_px=0.0,
        harmonize=0.0,
        shadow=0.0,
    )
    parameters = replace(furnished_frame(size=SMALL), backgrounds=(background, background))
    with pytest.raises(InvalidRequest, match="mitsuba"):
        session.render(parameters, ("rgb",))
    with pytest.raises(InvalidRequest, match="no name of a USD prim"):
        session.render(
            replace(furnished_frame(), objects=(PlacedObject("a b", "can", (0, 0, 0)),)), ()
        )
    session.close()
    with pytest.raises(InvalidRequest, match="closed"):
        session.render(furnished_frame(), ())


def assert_equal_labels(view: RenderedView, cpu: RenderedView) -> None:
    """Masks, depth and every number of every object are those of the CPU."""
    for name in ("instance_segmentation", "semantic_segmentation"):
        np.testing.assert_array_equal(view.arrays[name], cpu.arrays[name], err_msg=name)
    for name in ("distance_to_camera", "distance_to_image_plane"):
        np.testing.assert_allclose(view.arrays[name], cpu.arrays[name], rtol=1e-5, err_msg=name)
    assert view.objects == cpu.objects


def centimetre_stage(folder: Path) -> Path:
    """A Y-up stage in centimetres whose library asset has a transform of its own."""
    stage = new_stage(up_axis="Y", metres_per_unit=0.01)
    points: list[Vector3] = [(-200, 0, 200), (200, 0, 200), (200, 0, -200), (-200, 0, -200)]
    add_mesh(stage, "/World/Room/Floor", points, [(0, 1, 2, 3)], label="floor")
    asset = add_library_asset(stage, "box", "carton")
    UsdGeom.XformCommonAPI(asset).SetScale(Gf.Vec3f(1.0, 1.0, 2.0))
    red = add_material(stage, "/Library/box/Looks/red", color=(0.7, 0.1, 0.1))
    cube = add_cube(stage, "/Library/box/Body", size=40.0, label="inner")
    UsdGeom.XformCommonAPI(cube).SetTranslate(Gf.Vec3d(0.0, 20.0, 0.0))
    bind(cube.GetPrim(), red)
    return save(stage, folder)
