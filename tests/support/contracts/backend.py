"""What every renderer must do, whatever it is: the kit that each backend runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from simcloud.annotators import ANNOTATORS, FIRST_CLASS_ID
from simcloud.labels.qa import check_view
from simcloud.spec.parameters import FrameParameters
from simcloud_generator.backends.base import LABEL_ARRAYS, Backend, RenderedView
from support.scenes import furnished_frame, furnished_stage

LAYERS = tuple(name for name, row in ANNOTATORS.items() if row.is_layer)


def views_of(backend: Backend, stage: Path, parameters: FrameParameters) -> list[RenderedView]:
    """Renders one frame with every annotator in a session of its own."""
    session = backend.open(stage)
    try:
        return session.render(parameters, LAYERS)
    finally:
        session.close()


def check_backend(backend: Backend, folder: Path) -> None:
    """Renders the furnished scene and checks all that the annotator table promises."""
    stage, parameters = furnished_stage(folder), furnished_frame()
    session = backend.open(stage)
    labels = session.id_to_label
    assert labels == {
        0: "BACKGROUND",
        1: "UNLABELLED",
        2: "can",
        3: "carton",
        4: "floor",
    }
    views = session.render(parameters, LAYERS)
    session.close()
    session.close()  # twice is harmless
    assert [view.camera for view in views] == list(parameters.cameras)
    for view in views:
        check_arrays(view)
        check_objects(view, labels=dict(labels))
        assert check_view(view.camera, view.arrays, view.objects) == []
        assert all(seconds >= 0 for seconds in view.timings.values())


def check_arrays(view: RenderedView) -> None:
    """Every array has the table's dtype, shape and range."""
    height, width = view.camera.height, view.camera.width
    assert set(view.arrays) == set(LAYERS)
    assert set(LABEL_ARRAYS) <= set(view.arrays)
    for name, array in view.arrays.items():
        if name == "pointcloud":
            continue
        row = ANNOTATORS[name]
        assert array.dtype == np.dtype(row.dtype), name
        channels = {"(H, W, 3)": (3,), "(H, W, 4)": (4,)}.get(row.shape, ())
        assert array.shape == (height, width, *channels), name
    distance, plane = view.arrays["distance_to_camera"], view.arrays["distance_to_image_plane"]
    hit = np.isfinite(distance)
    assert (distance[hit] > 0).all()
    assert (plane[hit] <= distance[hit]).all()
    length = np.sqrt((view.arrays["normals"].astype(np.float64) ** 2).sum(axis=-1))
    assert np.allclose(length[hit], 1.0, atol=1e-5)
    assert (length[~hit] == 0).all()
    background = view.arrays["instance_segmentation"] == 0
    assert (background == ~hit).all()
    assert (background == (view.arrays["semantic_segmentation"] == 0)).all()
    assert view.arrays["rgb"].std() > 5, "a picture shows something"
    points = view.arrays["pointcloud"]
    assert len(points) == int((view.arrays["instance_segmentation"] >= FIRST_CLASS_ID).sum())
    assert np.isfinite(points["points"]).all()


def check_objects(view: RenderedView, *, labels: dict[int, str]) -> None:
    """Every object of the frame is there, in or out of the picture, with consistent numbers."""
    assert [item.instance_id for item in view.objects] == [2, 3, 4, 5]
    assert [item.name for item in view.objects] == ["/World/Room/Floor", "a", "b", "c"]
    for item in view.objects:
        assert labels[item.semantic_id] == item.label
        assert 0.0 <= item.occlusion <= 1.0
        assert 0.0 <= item.truncation <= 1.0
        assert 0 <= item.visible_px <= item.amodal_px
        assert item.distance_m > 0
        values = [*item.box3d_min, *item.box3d_max, item.occlusion, item.distance_m]
        assert values == [float(np.float32(value)) for value in values]


def assert_same(first: list[RenderedView], second: list[RenderedView]) -> None:
    """Two renderings of one frame agree in every bit."""
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one.camera == other.camera
        assert one.objects == other.objects
        assert set(one.arrays) == set(other.arrays)
        for name, array in one.arrays.items():
            assert array.tobytes() == other.arrays[name].tobytes(), name
