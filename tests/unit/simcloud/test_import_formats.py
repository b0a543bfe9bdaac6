"""Each format, from a folder as its tools write it, to the frames of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from simcloud.annotators import ANNOTATORS, Encoding
from simcloud.dataset.encode import Array, decode
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.record import FrameRecord, record_from_json
from simcloud.errors import InvalidRequest
from simcloud.importing.frame import FrameMaker
from simcloud.importing.scan import Scanned, ScanOptions, scan
from simcloud.importing.sources import LocalSource
from simcloud.importing.store import spec_of
from simcloud.importing.types import ImportLimits
from simcloud.spec.model import Spec
from support import foreign_sets


async def scanned(folder: Path, **options: object) -> Scanned:
    limits = ImportLimits()
    chosen = ScanOptions(**options)  # type: ignore[arg-type]
    return await scan(LocalSource(folder, limits), chosen, limits=limits)


async def frames_of(found: Scanned) -> list[tuple[EncodedFrame, FrameRecord]]:
    spec = spec_of(found)
    layers = [name for name in spec.annotators if ANNOTATORS[name].is_layer]
    maker = FrameMaker(
        content=found.labels.content,
        classes=found.labels.classes,
        encodings={name: spec.encodings[name] for name in layers},
        spec_digest="0" * 64,
        fingerprint="f",
    )
    made = [await maker.make(index, "x", seen) for index, seen in enumerate(found.frames)]
    return [(frame, record_from_json(frame.record)) for frame in made]


def layer(frame: EncodedFrame, spec: Spec, annotator: str) -> Array:
    (found,) = [item for item in frame.layers if item.annotator == annotator]
    return decode(found.data, spec.encodings[annotator])


def remove(folder: Path, pattern: str) -> None:
    for path in folder.glob(pattern):
        path.unlink()


async def test_coco_keeps_its_jpegs_its_splits_and_its_boxes(tmp_path: Path) -> None:
    originals = foreign_sets.coco(tmp_path)
    found = await scanned(tmp_path)
    assert (found.format, found.splits) == ("coco", {"train": 4, "val": 2})
    spec = spec_of(found)
    assert spec.encodings["rgb"] is Encoding.JPEG
    made = await frames_of(found)
    names = [record.params["source.name"] for _, record in made]
    assert names == sorted(originals)
    for frame, record in made:
        assert frame.layers[0].data == originals[str(record.params["source.name"])]
        person = record.objects[0]
        assert (person.label, person.box2d_tight) == ("person", (2, 3, 12, 11))
        assert (person.visible_px, person.occlusion, person.ignored) == (42, None, False)
        assert record.view.fx_px is None
        assert record.view.cam2world is None
        assert record.view.width == 32 + int(names.index(record.params["source.name"]))
    crowd = made[0][1].objects[1]
    assert (crowd.label, crowd.ignored, crowd.box2d_tight) == ("dog", True, (20, 10, 28, 19))
    instances = layer(made[0][0], spec, "instance_segmentation")
    semantic = layer(made[0][0], spec, "semantic_segmentation")
    person = made[0][1].objects[0]
    # a triangle of 42 pixels; the crowd's has 36, and is no instance
    assert np.unique(instances).tolist() == [1, person.instance_id]
    assert abs(int((instances == person.instance_id).sum()) - 42) <= 4
    assert abs(int((semantic == crowd.semantic_id).sum()) - 36) <= 4
    assert np.array_equal(semantic == person.semantic_id, instances == person.instance_id)


async def test_coco_without_all_its_segmentations_has_boxes_alone(tmp_path: Path) -> None:
    foreign_sets.coco(tmp_path)
    without = await scanned(tmp_path, masks=False)
    assert spec_of(without).encodings == {"rgb": Encoding.JPEG}
    path = tmp_path / "annotations" / "instances_val2017.json"
    document = json.loads(path.read_text())
    del document["annotations"][0]["segmentation"]
    path.write_text(json.dumps(document))
    found = await scanned(tmp_path)
    assert spec_of(found).encodings == {"rgb": Encoding.JPEG}
    assert found.notes == ("1 of 8 annotations have no segmentation: no masks are painted",)
    assert (await frames_of(found))[0][1].objects == (await frames_of(without))[0][1].objects
    document["annotations"][0]["segmentation"] = {"size": [24, 36], "counts": "P"}
    path.write_text(json.dumps(document))
    with pytest.raises(InvalidRequest, match=r"annotations\[0\]: segmentation.counts ends within"):
        await scanned(tmp_path)
    document["annotations"][0]["segmentation"] = {"size": [2, 2], "counts": [4]}
    path.write_text(json.dumps(document))
    with pytest.raises(InvalidRequest, match="segmentation is 2x2, its picture"):
        await scanned(tmp_path)


async def test_yolo_shares_become_pixels_and_polygons_their_boxes(tmp_path: Path) -> None:
    foreign_sets.yolo(tmp_path)
    found = await scanned(tmp_path)
    assert (found.format, found.splits) == ("yolo", {"train": 2, "val": 1})
    (_, empty), (_, one), _ = await frames_of(found)
    assert empty.objects == ()
    boxes = [(item.label, item.box2d_tight) for item in one.objects]
    assert boxes == [("bolt", (15, 5, 25, 15)), ("nut", (4, 2, 12, 8))]
    assert [item.semantic_id for item in one.objects] == [2, 3]


async def test_voc_counts_from_one_and_grey_pictures_become_rgb(tmp_path: Path) -> None:
    foreign_sets.voc(tmp_path)
    found = await scanned(tmp_path)
    assert (found.format, found.splits) == ("voc", {})
    made = await frames_of(found)
    assert [record.objects[0].box2d_tight for _, record in made] == [(0, 4, 20, 12)] * 3
    assert [record.objects[0].ignored for _, record in made] == [False, True, False]
    assert layer(made[0][0], spec_of(found), "rgb").shape == (20, 20, 3)


async def test_voc_splits_come_from_image_sets(tmp_path: Path) -> None:
    foreign_sets.voc(tmp_path)
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("crazing_0\nscratches_2  1\n")
    (lists / "val.txt").write_text("patches_1\n")
    (lists / "trainval.txt").write_text("crazing_0\npatches_1\nscratches_2\n")
    found = await scanned(tmp_path)
    assert found.splits == {"train": 2, "val": 1}
    assert found.frames[2].frame.key == "IMAGES/patches_1.jpg"


async def test_each_region_of_a_mask_is_an_object_with_its_pixels(tmp_path: Path) -> None:
    foreign_sets.masks(tmp_path)
    found = await scanned(tmp_path)
    assert (found.format, found.splits) == ("masks", {"train": 2, "test": 1})
    made = await frames_of(found)
    frame, record = made[0]
    shown = [(item.box2d_tight, item.visible_px, item.instance_id) for item in record.objects]
    assert shown == [((4, 3, 11, 9), 42, 2), ((1, 20, 3, 22), 4, 3)]
    ids = layer(frame, spec_of(found), "instance_segmentation")
    assert [int((ids == number).sum()) for number in (1, 2, 3)] == [23 * 30 - 46, 42, 4]
    assert record.id_to_label == {"2": "defect"}
    assert made[1][1].objects == ()


async def test_counts_are_objects_without_a_place(tmp_path: Path) -> None:
    foreign_sets.counts(tmp_path)
    found = await scanned(tmp_path)
    assert found.format == "counts"
    _, (_, record) = await frames_of(found)
    assert [item.label for item in record.objects] == ["B000", "B001", "B001"]
    assert all(item.box2d_tight is None for item in record.objects)
    assert record.params["count.total"] == 3
    assert record.params["count.kinds"] == 2
    assert spec_of(found).annotators == ("rgb",)


async def test_a_class_folder_is_a_parameter_and_a_bmp_becomes_png(tmp_path: Path) -> None:
    foreign_sets.classes(tmp_path)
    found = await scanned(tmp_path)
    assert (found.format, found.splits) == ("classes", {"train": 2, "test": 1})
    made = await frames_of(found)
    assert [record.params["class"] for _, record in made] == ["cat", "dog", "cat"]
    assert made[0][0].layers[0].data == (tmp_path / "train/cat/a.png").read_bytes()
    bmp = layer(made[1][0], spec_of(found), "rgb")
    assert np.array_equal(bmp, foreign_sets.pixels(2))


@pytest.mark.parametrize("binary", [False, True])
async def test_cifar_batches_of_both_versions_give_their_pictures(
    tmp_path: Path, binary: bool
) -> None:
    shown = foreign_sets.cifar(tmp_path, binary=binary)
    found = await scanned(tmp_path)
    assert (found.format, found.splits) == ("cifar", {"train": 3, "test": 3})
    made = await frames_of(found)
    pictures = [layer(frame, spec_of(found), "rgb") for frame, _ in made[:3]]
    assert np.array_equal(pictures, shown)
    labels = [record.params["class"] for _, record in made[:3]]
    assert labels == ["airplane", "bird", "automobile"]


async def test_a_basicwriter_folder_keeps_boxes_ids_depth_and_camera(tmp_path: Path) -> None:
    foreign_sets.basicwriter(tmp_path)
    found = await scanned(tmp_path)
    assert found.format == "basicwriter"
    spec = spec_of(found)
    frame, record = (await frames_of(found))[1]
    (cube,) = record.objects
    assert (cube.label, cube.box2d_tight, cube.occlusion) == ("cube", (4, 5, 10, 13), 0.25)
    assert (cube.prim, cube.visible_px) == ("/World/Cube", 48)
    semantic = layer(frame, spec, "semantic_segmentation")
    instance = layer(frame, spec, "instance_segmentation")
    for ids in (semantic, instance):
        assert [int((ids == number).sum()) for number in (0, 1, 2)] == [592, 128, 48]
    assert np.array_equal(layer(frame, spec, "rgb"), foreign_sets.pixels(1))
    depth = layer(frame, spec, "distance_to_camera")
    assert depth[6, 5] == pytest.approx(2.5)
    assert np.isinf(depth[0, 0])
    assert record.view.fx_px == 16.0
    assert record.view.cam2world is not None
    assert record.view.cam2world[3::4] == pytest.approx((1.0, 0.0, 0.5, 1.0))
    # the loose box is clipped to the picture; a stage unit is a centimetre
    assert cube.box2d_loose == (0, 5, 32, 13)
    assert cube.box3d_min_m == pytest.approx((-0.5, -0.5, 0.0))
    assert cube.box3d_max_m == pytest.approx((0.5, 0.5, 1.0))
    assert cube.local2world == pytest.approx((2, 0, 0, 3.0, 0, 1, 0, 0, 0, 0, 1, 0.5, 0, 0, 0, 1))
    assert {"bounding_box_2d_loose", "bounding_box_3d"} <= set(spec.annotators)
    assert found.notes == ("normals: left out, see the guide to importing",)


async def test_a_basicwriter_folder_with_ids_by_mesh_alone_gives_the_same_instances(
    tmp_path: Path,
) -> None:
    foreign_sets.basicwriter(tmp_path, frames=1)
    expected = (await frames_of(await scanned(tmp_path)))[0][0]
    remove(tmp_path, "instance_segmentation_*")
    found = await scanned(tmp_path)
    ((frame, _),) = await frames_of(found)
    spec = spec_of(found)
    name = "instance_segmentation"
    assert np.array_equal(layer(frame, spec, name), layer(expected, spec, name))


async def test_a_basicwriter_folder_without_a_camera_has_no_boxes_in_space(tmp_path: Path) -> None:
    foreign_sets.basicwriter(tmp_path, frames=1)
    remove(tmp_path, "camera_params_*")
    found = await scanned(tmp_path)
    assert "bounding_box_3d is left out: there is no camera_params" in found.notes
    assert "bounding_box_3d" not in spec_of(found).annotators


MAKERS: dict[str, Callable[[Path], object]] = {
    "coco": foreign_sets.coco,
    "cifar": partial(foreign_sets.cifar, binary=False),
    "masks": foreign_sets.masks,
}


@pytest.mark.parametrize("name", MAKERS)
async def test_the_same_files_elsewhere_are_the_same_run(tmp_path: Path, name: str) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    MAKERS[name](first)
    MAKERS[name](second)
    found, again = await scanned(first), await scanned(second)
    assert spec_of(found) == spec_of(again)
    assert await frames_of(found) == await frames_of(again)


async def test_another_byte_is_another_run(tmp_path: Path) -> None:
    foreign_sets.classes(tmp_path)
    before = await scanned(tmp_path)
    foreign_sets.save(tmp_path / "train/cat/a.png", foreign_sets.pixels(9))
    assert (await scanned(tmp_path)).digest != before.digest


@pytest.mark.parametrize(
    ("split", "expected"), [("hash", {}), ("holdout", {"holdout": 3})], ids=["hash", "one"]
)
async def test_splits_can_be_chosen(tmp_path: Path, split: str, expected: dict[str, int]) -> None:
    foreign_sets.classes(tmp_path)
    assert (await scanned(tmp_path, split=split)).splits == expected
