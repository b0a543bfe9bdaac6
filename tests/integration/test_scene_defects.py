"""Pictures of the defects scene pass the label gate, and its masks are the outlines themselves."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml

from simcloud.geometry import affine_inverse, matrix4, pixel_rays, transform_points
from simcloud.labels.qa import check_view
from simcloud.scene.catalog import Catalog, read_catalog
from simcloud.spec.draws import yaw_quaternion
from simcloud.spec.model import Spec
from simcloud.spec.parameters import FrameParameters, PlacedObject
from simcloud.spec.sample import sample
from simcloud_generator.backends.base import RenderedView, Session
from simcloud_generator.backends.mitsuba.backend import MitsubaBackend
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings
from support.scene_builders import SCENES, builder

STAGE = SCENES / "defects" / "stage.usda"
SPEC = Spec.model_validate(yaml.safe_load((STAGE.parent / "spec.yaml").read_text("utf-8")))


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return read_catalog(STAGE)


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    settings = MitsubaSettings(variant="auto", spp=1, max_depth=2, denoise=False)
    opened = MitsubaBackend(settings).open(STAGE)
    yield opened
    opened.close()


def frame_of(catalog: Catalog, number: int, size_px: int) -> FrameParameters:
    parameters = sample(SPEC, catalog, number)
    (camera,) = parameters.cameras
    return replace(parameters, cameras=(replace(camera, width=size_px, height=size_px),))


def outline_mask(view: RenderedView, item: Any) -> npt.NDArray[np.bool_]:
    """Pixels whose ray meets the defect's plane inside its outline."""
    build = builder("defects")
    stem, _, variant = item.asset.rpartition("_")
    label = next(name for name in build.OUTLINES if name.replace("-", "_") == stem)
    islands = build.outline(label, int(variant))
    world2local = affine_inverse(matrix4(item.local2world))
    eye = transform_points(world2local, matrix4(view.camera.cam2world)[:3, 3][None])[0]
    directions, _ = pixel_rays(view.camera)
    ahead = transform_points(
        world2local, matrix4(view.camera.cam2world)[:3, 3] + directions.reshape(-1, 3)
    )
    rays = ahead - eye
    reach = (build.ABOVE_PLATE_M - eye[2]) / rays[:, 2]
    points = eye[:2] + rays[:, :2] * reach[:, None] + build.origin(islands)
    outlines = importlib.import_module("defect_outlines")  # a neighbour of the builder
    mask: npt.NDArray[np.bool_] = outlines.covered(islands, points)
    return mask.reshape(view.camera.height, view.camera.width)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_frames_pass_the_label_gate(session: Session, catalog: Catalog, number: int) -> None:
    annotators = [*SPEC.annotators, "distance_to_camera", "distance_to_image_plane"]
    (view,) = session.render(frame_of(catalog, number, 96), annotators)

    assert session.unsupported == ()
    assert check_view(view.camera, view.arrays, view.objects) == []
    assert view.arrays["rgb"].std() > 2.0


@pytest.mark.parametrize("number", [5, 6])
def test_masks_are_exactly_the_outlines(session: Session, catalog: Catalog, number: int) -> None:
    labels = list(builder("defects").OUTLINES)
    placed = tuple(
        PlacedObject(
            name=f"defect_{index}",
            asset=builder("defects").asset_name(label, number),
            position_m=(0.02 * (index % 3 - 1), 0.024 * (index // 3) - 0.012, 0.0),
            orientation_wxyz=yaw_quaternion(25.0 * index - 60.0),
            scale=0.55,
        )
        for index, label in enumerate(labels)
    )
    frame = replace(frame_of(catalog, number, 512), objects=placed)
    (view,) = session.render(frame, ["instance_segmentation"])
    ids = view.arrays["instance_segmentation"]

    overlap = {}
    for item in view.objects:
        expected, found = outline_mask(view, item), ids == item.instance_id
        overlap[item.label] = float((expected & found).sum() / (expected | found).sum())
        assert item.visible_px > 100
        assert item.occlusion == 0.0
    assert set(overlap) == set(labels)
    assert min(overlap.values()) >= 0.995, overlap
