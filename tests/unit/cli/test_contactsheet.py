"""Contact sheets: each annotator has a picture, overlays are optional, errors come early."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simcloud.annotators import ANNOTATORS, ENCODINGS, Encoding
from simcloud.dataset.encode import encode
from simcloud.dataset.frames import EncodedFrame, Layer
from simcloud.dataset.record import CameraRecord, FrameRecord, ObjectRecord, Quarantine
from simcloud.errors import InvalidRequest
from simcloud.spec.model import Spec
from simcloud_cli.contactsheet import (
    CAPTION_PX,
    DRAWN,
    GAP_PX,
    Cell,
    Overlays,
    cells,
    check_drawn,
    sheet,
)
from simcloud_cli.previewflow import PreviewOptions, preview_spec, with_annotators

WIDTH, HEIGHT = 60, 40
BARE = Overlays(boxes=False, classes=False, masks=False)
DEFAULTS: dict[str, Encoding] = {name: row.encodings[0] for name, row in ANNOTATORS.items()}


def arrays() -> dict[str, Any]:
    """A grey picture with one object, 10 to 30 by 10 to 25, that moved to the right."""
    ids = np.zeros((HEIGHT, WIDTH), dtype=np.uint16)
    ids[10:25, 10:30] = 2
    seen = ids > 0
    depth = np.where(seen, np.linspace(2, 3, WIDTH)[None, :], np.inf).astype(np.float32)
    normals = np.where(seen[..., None], (0.0, 0.0, 1.0), 0.0).astype(np.float32)
    motion = np.zeros((HEIGHT, WIDTH, 4), dtype=np.float32)
    motion[seen, 0] = -2.5
    return {
        "rgb": np.full((HEIGHT, WIDTH, 3), 100, dtype=np.uint8),
        "distance_to_camera": depth,
        "distance_to_image_plane": depth,
        "normals": normals,
        "motion_vectors": motion,
        "semantic_segmentation": ids,
        "instance_segmentation": ids,
    }


def frame(*names: str, quarantine: Quarantine | None = None) -> EncodedFrame:
    view = CameraRecord(
        width=WIDTH,
        height=HEIGHT,
        fx_px=50.0,
        fy_px=50.0,
        cx_px=30.0,
        cy_px=20.0,
        cam2world=tuple(float(i % 5 == 0) for i in range(16)),
        focal_length_mm=20.0,
        horizontal_aperture_mm=20.0,
        near_m=0.1,
        far_m=100.0,
    )
    thing = ObjectRecord(
        instance_id=2,
        name="chair_00",
        asset="chair_1",
        label="chair",
        semantic_id=2,
        local2world=tuple(float(i % 5 == 0) for i in range(16)),
        box3d_min_m=(-0.5, -0.5, 0.0),
        box3d_max_m=(0.5, 0.5, 1.0),
        box2d_tight=(10, 10, 30, 25),
        box2d_loose=(10, 10, 30, 25),
        visible_px=300,
        amodal_px=300,
        occlusion=0.0,
        truncation=0.0,
        distance_m=2.5,
    )
    record = FrameRecord(
        frame=7,
        camera="main",
        split="train",
        spec_digest="0" * 64,
        fingerprint="0" * 16,
        params={},
        view=view,
        objects=() if quarantine else (thing,),
        quarantine=quarantine,
    )
    made = arrays()
    layers = tuple(
        Layer(
            annotator=name,
            extension=ENCODINGS[DEFAULTS[name]].extension,
            media_type=ENCODINGS[DEFAULTS[name]].media_type,
            data=encode(made[name], DEFAULTS[name]),
            crc64nvme=0,
        )
        for name in names
    )
    return EncodedFrame(frame=7, camera="main", record=record.to_json(), layers=layers)


def test_every_annotator_with_a_picture_is_drawn() -> None:
    assert set(DRAWN) == {n for n, row in ANNOTATORS.items() if row.is_layer} - {"pointcloud"}
    drawn = cells(frame(*DRAWN), DRAWN, DEFAULTS, BARE)
    assert [cell.caption for cell in drawn] == [f"frame 7 main {name}" for name in DRAWN]
    for name, cell in zip(DRAWN, drawn, strict=True):
        assert cell.picture.shape == (HEIGHT, WIDTH, 3), name
        assert cell.picture.dtype == np.uint8
        if name != "rgb":
            assert (cell.picture[0, 0] == 0).all(), f"{name}: nothing was seen there"
            assert cell.picture[15, 20].any(), name


def test_overlays_draw_only_what_is_asked_for() -> None:
    made = frame("rgb", "instance_segmentation")

    def drawn(**changes: bool) -> Any:
        (cell,) = cells(made, ("rgb",), DEFAULTS, replace(BARE, **changes))
        return cell.picture

    assert (drawn() == 100).all()
    boxed = drawn(boxes=True)
    assert (boxed[10, 10] != 100).any()
    assert (boxed[24, 29] != 100).any()
    assert (boxed[15, 20] == 100).all()
    assert (boxed[25, 30] == 100).all()
    masked = drawn(masks=True)
    assert (masked[15, 20] != 100).any()
    assert (masked[5, 5] == 100).all()
    assert (drawn(classes=True) != 100).any()


def test_quarantined_frame_has_a_cell_that_says_so() -> None:
    made = frame(quarantine=Quarantine(rule="tight_box", detail="off by one"))
    found = cells(made, ("rgb", "normals"), DEFAULTS, Overlays())
    assert len(found) == 2
    assert len(np.unique(found[0].picture.reshape(-1, 3), axis=0)) > 1


def test_single_cells_are_laid_out_in_a_square_and_rows_stay_rows() -> None:
    cell = Cell(np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8), "frame 0 main rgb")
    height = HEIGHT * 2 + CAPTION_PX
    square = sheet([[cell]] * 5, cell_width=WIDTH * 2)
    assert square.shape == (2 * (height + GAP_PX) + GAP_PX, 3 * (2 * WIDTH + GAP_PX) + GAP_PX, 3)
    rows = sheet([[cell, cell]] * 3, cell_width=WIDTH * 2)
    assert rows.shape == (3 * (height + GAP_PX) + GAP_PX, 2 * (2 * WIDTH + GAP_PX) + GAP_PX, 3)


def test_cameras_of_different_sizes_share_a_sheet() -> None:
    tall = Cell(np.zeros((80, 40, 3), dtype=np.uint8), "frame 0 tall rgb")
    wide = Cell(np.zeros((20, 40, 3), dtype=np.uint8), "frame 0 wide rgb")
    assert sheet([[tall, wide]], cell_width=40).shape == (80 + CAPTION_PX + 2 * GAP_PX, 98, 3)


@pytest.mark.parametrize(("name", "words"), [("pointcloud", "is not a picture"), ("x", "not an")])
def test_what_has_no_picture_is_refused(name: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        check_drawn(["rgb", name])


def options(**changes: Any) -> PreviewOptions:
    plain = PreviewOptions(
        frames=range(1),
        annotators=(),
        output=Path("preview"),
        sheet=None,
        cell_width=320,
        overlays=Overlays(),
    )
    return replace(plain, **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"annotators": ("rgbb",)}, "there is no rgbb"),
        ({"sheet": Path("sheet.gif")}, "name a picture"),
        ({"sheet": Path("no/such/folder/sheet.jpg")}, "make it first"),
        ({"sheet": Path("sheet.jpg"), "annotators": ("occlusion",)}, "is not a picture"),
    ],
)
def test_wrong_options_are_told_before_anything_is_started(
    changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        preview_spec(None, options(**changes))  # type: ignore[arg-type]


def test_a_sheet_asks_for_what_its_overlays_need() -> None:
    spec = Spec.model_validate(
        {
            "scene": {"root": "stage.usda"},
            "annotators": ["rgb", "normals", "occlusion"],
            "encodings": {"rgb": "jpeg"},
            "cameras": [
                {
                    "name": "main",
                    "width_px": 8,
                    "height_px": 8,
                    "placement": {"kind": "look_at", "eye": [0, -1, 0], "target": [0, 0, 0]},
                }
            ],
        }
    )
    assert with_annotators(spec, options()) == spec
    on_sheet = with_annotators(spec, options(sheet=Path("sheet.jpg")))
    assert on_sheet.annotators == ("rgb", "instance_segmentation")
    assert on_sheet.encodings["rgb"] == Encoding.JPEG
    bare = options(sheet=Path("s.jpg"), overlays=BARE, annotators=("normals", "rgb"))
    assert with_annotators(spec, bare).annotators == ("rgb", "normals")
    assert with_annotators(spec, options(annotators=("normals",))).annotators == ("normals",)
