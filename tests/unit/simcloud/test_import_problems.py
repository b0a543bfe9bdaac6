"""What is wrong with a source is said, file by file, and nothing hostile in it is obeyed."""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simcloud.annotators import Encoding
from simcloud.errors import InvalidRequest, NotFound
from simcloud.importing.boxes import pixel_box
from simcloud.importing.cifar import load_batch, load_pickle
from simcloud.importing.counts import counted
from simcloud.importing.masks import regions
from simcloud.importing.pictures import exif_orientation, look_at
from simcloud.importing.scan import Scanned, ScanOptions, scan
from simcloud.importing.sources import LocalSource
from simcloud.importing.types import ImportLimits
from simcloud.importing.voc import parse_xml
from simcloud.importing.writer_files import array_of
from support import foreign_sets

LIMITS = ImportLimits()


async def scanned(folder: Path, limits: ImportLimits = LIMITS, **options: Any) -> Scanned:
    return await scan(LocalSource(folder, limits), ScanOptions(**options), limits=limits)


def edit_coco(folder: Path, change: dict[str, Any]) -> None:
    """Changes the first annotation, or whole lists, of the train file."""
    path = folder / "annotations" / "instances_train2017.json"
    document = json.loads(path.read_text())
    document["annotations"][0] |= {k: v for k, v in change.items() if k not in document}
    document |= {key: value for key, value in change.items() if key in document}
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bbox": [0, 0, 90, 5]}, "reaches outside of the picture of 32x24"),
        ({"bbox": [math.nan, 0, 9, 5]}, "is not finite"),
        ({"bbox": [3, 3, 0, 5]}, "is empty"),
        ({"bbox": [3, 3, 5]}, "bbox has 3 numbers"),
        ({"category_id": 77}, "category_id 77 is no category"),
        ({"image_id": 77}, "image_id 77 is no image"),
    ],
)
async def test_a_wrong_annotation_is_named_and_can_be_skipped(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    foreign_sets.coco(tmp_path)
    edit_coco(tmp_path, change)
    with pytest.raises(
        InvalidRequest, match=rf"(?s)--skip-bad 1 leaves.*annotations\[0\].*{words}"
    ) as e:
        await scanned(tmp_path)
    assert "nothing is imported" in e.value.message
    found = await scanned(tmp_path, skip_bad=1)
    assert found.skipped_pictures == 1
    assert len(found.frames) == 6 - ("image_id" not in change)


async def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    foreign_sets.coco(tmp_path)
    (tmp_path / "val2017" / "000000000005.jpg").unlink()
    with pytest.raises(InvalidRequest, match=r"picture 000000000005\.jpg is missing"):
        await scanned(tmp_path)


@pytest.mark.parametrize("text", ["{", '{"images": 3, "annotations": [], "categories": []}'])
async def test_a_broken_label_file_can_not_be_skipped(tmp_path: Path, text: str) -> None:
    foreign_sets.coco(tmp_path)
    (tmp_path / "annotations" / "instances_val2017.json").write_text(text)
    with pytest.raises(InvalidRequest, match=r"(?s)mend the files.*instances_val2017\.json"):
        await scanned(tmp_path, skip_bad=100)


async def test_a_declared_size_that_differs_is_named(tmp_path: Path) -> None:
    foreign_sets.coco(tmp_path)
    foreign_sets.save(tmp_path / "train2017" / "000000000000.jpg", foreign_sets.pixels(0, 24, 32))
    with pytest.raises(InvalidRequest, match="is 24x32 upright, its labels say 32x24"):
        await scanned(tmp_path)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("7 0.5 0.5 0.1 0.1", "class 7 has no name"),
        ("0 0.5 0.5 0.1", "has 4 columns"),
        ("0 0.5 nope 0.1 0.1", "is no row of numbers"),
        ("0 nan 0.5 0.1 0.1", "is not finite"),
        ("0 0.9 0.5 0.9 0.1", "reaches outside"),
    ],
)
async def test_a_wrong_line_of_yolo_is_named(tmp_path: Path, line: str, words: str) -> None:
    foreign_sets.yolo(tmp_path)
    (tmp_path / "labels" / "train" / "0.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(InvalidRequest, match=rf"0\.txt:2: .*{words}"):
        await scanned(tmp_path)


async def test_labels_without_a_picture_and_double_names_are_named(tmp_path: Path) -> None:
    foreign_sets.yolo(tmp_path)
    (tmp_path / "labels" / "train" / "9.txt").write_text("")
    with pytest.raises(InvalidRequest, match=r"9\.txt: is a label file of no picture"):
        await scanned(tmp_path)
    foreign_sets.save(tmp_path / "images" / "train" / "1.png", foreign_sets.pixels(3))
    with pytest.raises(InvalidRequest, match="belongs to several pictures"):
        await scanned(tmp_path)


BOMB = """<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;&x;">]><annotation>&y;</annotation>"""
FILE_ENTITY = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>'


@pytest.mark.parametrize(
    "text", [BOMB, FILE_ENTITY, BOMB.replace("<annotation>&y;", "<annotation>")]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_never_expanded(text: str, encoding: str) -> None:
    with pytest.raises(ValueError, match="document type"):
        parse_xml(text.encode(encoding))


@pytest.mark.parametrize("text", ["<annotation>", "", "<a>" * 100, "<a></b>", "no"])
def test_broken_xml_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"XML|nested"):
        parse_xml(text.encode())


async def test_voc_problems_name_the_file(tmp_path: Path) -> None:
    foreign_sets.voc(tmp_path)
    path = tmp_path / "ANNOTATIONS" / "patches_1.xml"
    path.write_text(path.read_text().replace("<xmin>1</xmin>", "<xmin>left</xmin>"))
    with pytest.raises(InvalidRequest, match=r"patches_1\.xml: bndbox/xmin is 'left', no number"):
        await scanned(tmp_path)
    path.unlink()
    with pytest.raises(InvalidRequest, match=r"patches_1\.jpg: has no XML file"):
        await scanned(tmp_path)


class Hostile:
    """Would make a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._path),)


async def test_a_hostile_pickle_runs_nothing(tmp_path: Path) -> None:
    folder, trap = tmp_path / "cifar", tmp_path / "trap"
    foreign_sets.cifar(folder, binary=False)
    (folder / "data_batch_2").write_bytes(pickle.dumps({b"data": Hostile(trap)}))
    with pytest.raises(InvalidRequest, match=r"data_batch_2: is no batch: .*mkdir"):
        await scanned(folder)
    assert not trap.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        pickle.dumps([1]),
        pickle.dumps({b"data": np.zeros((1, 3), np.uint8), b"labels": [0]}),
        pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [0, 1]}),
        pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": ["x"]}),
    ],
)
def test_what_is_no_batch_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"batch|array|list|table|labels"):
        load_batch(data, binary=False, labels=1)


def test_pickled_arrays_of_old_and_new_numpy_are_read() -> None:
    data = pickle.dumps({"data": np.arange(3)}, protocol=2)
    older = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert load_pickle(data)["data"].tolist() == load_pickle(older)["data"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "no JSON object"),
        ({"counts": 3}, "no JSON object"),
        ({"a": -1}, "no count"),
        ({"a": True}, "no count"),
        ({"a": 1.5}, "no count"),
        ({"BIN_FCSKU_DATA": {"x": {"quantity": 2}}, "EXPECTED_QUANTITY": 3}, "its items are 2"),
        ({"BIN_FCSKU_DATA": {"x": 2}}, "no JSON object"),
    ],
)
def test_wrong_counts_are_refused(document: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        counted(document)


def test_plain_counts_are_taken_too() -> None:
    assert counted({"counts": {"cup": 2}}) == counted({"cup": 2}) == {"cup": ("", 2)}


async def test_masks_without_pictures_and_of_other_sizes_are_named(tmp_path: Path) -> None:
    foreign_sets.masks(tmp_path)
    foreign_sets.save(tmp_path / "train" / "7_GT.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(InvalidRequest, match=r"7_GT\.png: is a mask of no picture"):
        await scanned(tmp_path)
    data = (tmp_path / "train" / "10000_GT.png").read_bytes()
    with pytest.raises(ValueError, match="is 23x30, its picture is 24x30"):
        regions(data, (24, 30), "mask")


def test_arrays_of_objects_are_never_loaded() -> None:
    sink = io.BytesIO()
    np.save(sink, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="pickle"):
        array_of(sink.getvalue())


async def test_a_basicwriter_file_that_is_lacking_or_odd_is_named(tmp_path: Path) -> None:
    foreign_sets.basicwriter(tmp_path)
    label = tmp_path / "semantic_segmentation_labels_0001.json"
    foreign_sets.write_json(label, {"(9, 9, 9, 9)": {"class": "cube"}})
    with pytest.raises(InvalidRequest, match="colours or ids without a label"):
        await scanned(tmp_path)
    (tmp_path / "distance_to_camera_0000.npy").unlink()
    with pytest.raises(InvalidRequest, match=r"rgb_0000\.png: has no distance_to_camera"):
        await scanned(tmp_path)


async def test_links_out_of_the_folder_are_named(tmp_path: Path) -> None:
    foreign_sets.classes(tmp_path / "set")
    outside = tmp_path / "outside.png"
    foreign_sets.save(outside, foreign_sets.pixels(1))
    (tmp_path / "set" / "train" / "cat" / "link.png").symlink_to(outside)
    with pytest.raises(InvalidRequest, match=r"link\.png: is a link that leads out"):
        await scanned(tmp_path / "set")
    assert len((await scanned(tmp_path / "set", skip_bad=1)).frames) == 3


async def test_names_that_differ_in_case_alone_are_named(tmp_path: Path) -> None:
    foreign_sets.classes(tmp_path)
    foreign_sets.save(tmp_path / "train" / "cat" / "A.png", foreign_sets.pixels(1))
    with pytest.raises(InvalidRequest, match="upper and lower case alone"):
        await scanned(tmp_path)


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "is empty"), (b"GIF89a", "no PNG"), (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "header chunk")],
)
async def test_what_is_no_picture_is_named(tmp_path: Path, data: bytes, words: str) -> None:
    foreign_sets.classes(tmp_path)
    (tmp_path / "train" / "cat" / "a.png").write_bytes(data)
    with pytest.raises(InvalidRequest, match=rf"a\.png: .*{words}"):
        await scanned(tmp_path)


async def test_absurd_sizes_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    foreign_sets.classes(tmp_path)
    path = tmp_path / "train" / "cat" / "a.png"
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    path.write_bytes(data)
    with pytest.raises(InvalidRequest, match="it is 60000x60000; at most 8192"):
        await scanned(tmp_path)
    with pytest.raises(InvalidRequest, match="has more than 100 bytes"):
        await scanned(tmp_path, ImportLimits(picture_bytes=100))


async def test_a_folder_of_nothing_says_what_it_saw(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("hello")
    with pytest.raises(InvalidRequest, match=r"no format that is known \(it has 1 \.md\)"):
        await scanned(tmp_path)
    with pytest.raises(NotFound, match="no pictures"):
        await scanned(tmp_path, format="classes")
    with pytest.raises(NotFound, match="is not a folder"):
        LocalSource(tmp_path / "nowhere", LIMITS)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((2.4, 3.6, 7.5, 9.1), (2, 4, 8, 9)),
        ((-0.9, -1.0, 20.9, 21.0), (0, 0, 20, 20)),
        ((3.1, 3.1, 3.2, 3.2), (3, 3, 4, 4)),
        ((19.8, 19.8, 20.0, 20.0), (19, 19, 20, 20)),
    ],
)
def test_boxes_are_clipped_by_a_pixel_at_most(box: Any, expected: Any) -> None:
    assert pixel_box(box, (20, 20)) == expected
    with pytest.raises(ValueError, match="outside"):
        pixel_box((box[0] - 30, *box[1:]), (20, 20))


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """A JPEG with an EXIF segment right after its start."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def test_a_turned_picture_is_stored_upright(tmp_path: Path) -> None:
    jpeg = foreign_sets.save(tmp_path / "a.jpg", foreign_sets.pixels(1, 32, 24))
    assert look_at(jpeg, LIMITS).as_is is Encoding.JPEG
    assert look_at(with_orientation(jpeg, 1), LIMITS).as_is is Encoding.JPEG
    turned = look_at(with_orientation(jpeg, 6), LIMITS)
    assert (turned.width, turned.height, turned.as_is) == (24, 32, None)
    assert exif_orientation(b"MM\0*\0\0\0\x08\0\x01") == 1


@pytest.mark.parametrize("shape", [(24, 32), (24, 32, 4)])
def test_grey_and_transparent_pngs_are_decoded(tmp_path: Path, shape: tuple[int, ...]) -> None:
    data = foreign_sets.save(tmp_path / "a.png", np.full(shape, 9, np.uint8))
    assert look_at(data, LIMITS).as_is is None
