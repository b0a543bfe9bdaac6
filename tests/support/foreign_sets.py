"""Small labelled folders as other tools write them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


def pixels(seed: int, width: int = 32, height: int = 24) -> Pixels:
    """A smooth RGB picture that differs by seed, (H, W, 3)."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [(x * 5 + seed * 17) % 256, (y * 7 + seed * 29) % 256, (x + y + seed * 41) % 256]
    return np.stack(planes, axis=-1).astype(np.uint8)


def save(path: Path, array: npt.NDArray[Any]) -> bytes:
    """Writes a picture, RGB order; returns its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = array
    if array.ndim == 3:
        stored = array[:, :, [2, 1, 0, 3][: array.shape[2]]]
    assert cv2.imwrite(str(path), np.ascontiguousarray(stored))
    return path.read_bytes()


def coco(folder: Path, *, pictures: int = 6) -> dict[str, bytes]:
    """instances_train2017.json and instances_val2017.json with their folders; bytes by name."""
    found: dict[str, bytes] = {}
    for split, numbers in (("train", range(pictures - 2)), ("val", range(pictures - 2, pictures))):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number in numbers:
            name = f"{number:012d}.jpg"
            data = save(folder / f"{split}2017" / name, pixels(number, 32 + number, 24))
            found[f"{split}2017/{name}"] = data
            images.append({"id": number + 1, "file_name": name, "width": 32 + number, "height": 24})
            annotations.append(annotation(len(annotations) + 1, number + 1, [2.0, 3.0, 10.5, 8.0]))
        crowd = annotation(99, images[0]["id"], [20.0, 10.0, 8.0, 9.0])
        annotations.append({**crowd, "category_id": 18, "iscrowd": 1})
        write_json(
            folder / "annotations" / f"instances_{split}2017.json",
            {
                "images": images,
                "annotations": annotations,
                "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
            },
        )
    return found


def annotation(identity: int, image: int, box: list[float]) -> dict[str, Any]:
    """One COCO annotation with a polygon."""
    x, y, width, height = box
    return {
        "id": identity,
        "image_id": image,
        "category_id": 1,
        "bbox": box,
        "area": width * height / 2,
        "segmentation": [[x, y, x + width, y, x, y + height]],
        "iscrowd": 0,
    }


def yolo(folder: Path) -> None:
    """images/ and labels/ by split, with a data.yaml."""
    for split, numbers in (("train", (0, 1)), ("val", (2,))):
        for number in numbers:
            save(folder / "images" / split / f"{number}.jpg", pixels(number, 40, 20))
            labels = folder / "labels" / split / f"{number}.txt"
            labels.parent.mkdir(parents=True, exist_ok=True)
            labels.write_text("1 0.5 0.5 0.25 0.5\n0 0.1 0.1 0.3 0.1 0.2 0.4\n" if number else "")
    (folder / "data.yaml").write_text("names:\n  0: nut\n  1: bolt\ntrain: images/train\n")


VOC_XML = """<annotation><folder>f</folder><filename>{stem}</filename>
<size><width>20</width><height>20</height><depth>1</depth></size>
<object><name>{label}</name><difficult>{difficult}</difficult>
<bndbox><xmin>1</xmin><ymin>5</ymin><xmax>20</xmax><ymax>12</ymax></bndbox></object></annotation>"""


def voc(folder: Path) -> None:
    """IMAGES and ANNOTATIONS as NEU-DET has them: grey JPEGs of 200 x 200 there, of 20 here."""
    for number, label in enumerate(("crazing", "patches", "scratches")):
        stem = f"{label}_{number}"
        save(folder / "IMAGES" / f"{stem}.jpg", pixels(number, 20, 20)[:, :, 0])
        path = folder / "ANNOTATIONS" / f"{stem}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(VOC_XML.format(stem=stem, label=label, difficult=number % 2))


def masks(folder: Path) -> None:
    """train and test with `_GT` beside each picture, as KolektorSDD2 has them."""
    for split, number in (("train", 10000), ("train", 10001), ("test", 20000)):
        save(folder / split / f"{number}.png", pixels(number % 7, 23, 30))
        mask = np.zeros((30, 23), dtype=np.uint8)
        if number != 10001:
            mask[3:9, 4:11] = 255
            mask[20:22, 1:3] = 255
        save(folder / split / f"{number}_GT.png", mask)


def counts(folder: Path) -> None:
    """bin-images and metadata as the Amazon bin image data set has them."""
    for number in (1, 2):
        save(folder / "bin-images" / f"{number:05d}.jpg", pixels(number))
        items = {
            f"B00{index}": {"asin": f"B00{index}", "name": f"Thing {index}", "quantity": index + 1}
            for index in range(number)
        }
        total = sum(item["quantity"] for item in items.values())  # type: ignore[misc]
        write_json(
            folder / "metadata" / f"{number:05d}.json",
            {"BIN_FCSKU_DATA": items, "EXPECTED_QUANTITY": total},
        )


def classes(folder: Path) -> None:
    """A folder a class, below folders of splits; one picture is a BMP."""
    save(folder / "train" / "cat" / "a.png", pixels(1))
    save(folder / "train" / "dog" / "b.bmp", pixels(2))
    save(folder / "test" / "cat" / "c.png", pixels(3))


def cifar(folder: Path, *, binary: bool) -> Pixels:
    """Two batches of three pictures; returns the train pictures (3, 32, 32, 3)."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = np.stack([pixels(seed, 32, 32) for seed in range(3)])
    rows = shown.transpose(0, 3, 1, 2).reshape(3, -1)
    labels, names = [0, 2, 1], ["airplane", "automobile", "bird"]
    for stem in ("data_batch_1", "test_batch"):
        if binary:
            whole = np.hstack([np.array(labels, dtype=np.uint8)[:, None], rows])
            (folder / f"{stem}.bin").write_bytes(whole.tobytes())
        else:
            table = {b"data": np.ascontiguousarray(rows), b"labels": labels}
            (folder / stem).write_bytes(pickle.dumps(table, protocol=2))
    if binary:
        (folder / "batches.meta.txt").write_text("\n".join(names) + "\n")
    else:
        (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}, protocol=2))
    return shown


def basicwriter(folder: Path, *, frames: int = 2) -> None:
    """A flat folder of a BasicWriter: colourised segmentations, boxes, depth, camera."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = [
        ("semanticId", "<u4"),
        *((name, "<i4") for name in ("x_min", "y_min", "x_max", "y_max")),
    ]
    for number in range(frames):
        tail = f"{number:04d}"
        opaque = np.full((24, 32, 1), 255, dtype=np.uint8)
        save(folder / f"rgb_{tail}.png", np.concatenate([pixels(number), opaque], axis=-1))
        rows = np.array([(7, 4, 5, 9, 12, 0.25)], dtype=[*kind, ("occlusionRatio", "<f4")])
        np.save(folder / f"bounding_box_2d_tight_{tail}.npy", rows)
        write_json(folder / f"bounding_box_2d_tight_labels_{tail}.json", {"7": {"class": "cube"}})
        write_json(folder / f"bounding_box_2d_tight_prim_paths_{tail}.json", ["/World/Cube"])
        painted = np.zeros((24, 32, 4), dtype=np.uint8)
        painted[5:13, 4:10] = (140, 25, 255, 255)
        painted[20:, :] = (0, 0, 0, 255)
        for annotator, value in (("semantic", {"class": "cube"}), ("instance", "/World/Cube")):
            save(folder / f"{annotator}_segmentation_{tail}.png", painted)
            empty: dict[str, object] = {"semantic": {"class": "BACKGROUND"}}
            floor: dict[str, object] = {"semantic": {"class": "UNLABELLED"}}
            table = {
                "(0, 0, 0, 0)": empty.get(annotator, "BACKGROUND"),
                "(0, 0, 0, 255)": floor.get(annotator, "UNLABELLED"),
                "(140, 25, 255, 255)": value,
            }
            what = "labels" if annotator == "semantic" else "mapping"
            write_json(folder / f"{annotator}_segmentation_{what}_{tail}.json", table)
        depth = np.full((24, 32), np.inf, dtype=np.float32)
        depth[5:13, 4:10] = 250.0
        np.save(folder / f"distance_to_camera_{tail}.npy", depth)
        view = np.eye(4)
        view[3, :3] = (-100.0, 0.0, -50.0)  # row vectors: a camera at x = 100, z = 50
        write_json(
            folder / f"camera_params_{tail}.json",
            {
                "cameraAperture": [20.0, 15.0],
                "cameraApertureOffset": [0.0, 0.0],
                "cameraFocalLength": 10.0,
                "cameraNearFar": [1.0, 10000.0],
                "cameraViewTransform": view.ravel().tolist(),
                "metersPerSceneUnit": 0.01,
            },
        )
        box2d = np.array([(7, -3, 5, 40, 12, 0.25)], dtype=[*kind, ("occlusionRatio", "<f4")])
        np.save(folder / f"bounding_box_2d_loose_{tail}.npy", box2d)
        moved = np.eye(4, dtype=np.float32)
        moved[0, 0] = 2.0
        moved[3, :3] = (300.0, 0.0, 50.0)  # row vectors: scaled along x, then moved
        extent = [(f"{axis}_{end}", "<f4") for end in ("min", "max") for axis in "xyz"]
        solid = [("semanticId", "<u4"), *extent, ("transform", "<f4", (4, 4))]
        np.save(
            folder / f"bounding_box_3d_{tail}.npy",
            np.array([(7, -50, -50, 0, 50, 50, 100, moved)], dtype=solid),
        )
        for annotator in ("bounding_box_2d_loose", "bounding_box_3d"):
            write_json(folder / f"{annotator}_prim_paths_{tail}.json", ["/World/Cube"])
        save(folder / f"instance_id_segmentation_{tail}.png", painted)
        write_json(
            folder / f"instance_id_segmentation_mapping_{tail}.json",
            {
                "(0, 0, 0, 0)": "BACKGROUND",
                "(0, 0, 0, 255)": "/World/Floor/mesh",
                "(140, 25, 255, 255)": "/World/Cube/body/mesh",
            },
        )
        save(folder / f"normals_{tail}.png", painted)
    (folder / "metadata.txt").write_text("{}")


def write_json(path: Path, document: object) -> None:
    """Writes a JSON file; NaN as Python does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
