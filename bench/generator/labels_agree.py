"""Labels beside those of a renderer that is not ours: Blender's Cycles reads the same USD.

Every frame is written as a stage of its own, which Blender imports by its own reader and renders
with one ray through each pixel's centre. Depth, masks and boxes must agree: that they do is
evidence for the USD reader, the camera model, the poses and the rays at once, none of which the
two share. Exit status 1 where a bar is missed.
"""

# ruff: noqa: T201 - talks on standard output

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent / "cycles"))

import blender
from frame_stage import write_frame_stage

from simcloud.scene.catalog import read_catalog
from simcloud.spec.model import Spec
from simcloud.spec.sample import sample
from simcloud_generator.backends.base import RenderedView
from simcloud_generator.backends.mitsuba.backend import MitsubaBackend
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings

SCENES = Path(__file__).resolve().parents[2] / "scenes"
DEPTH_BAR = 1e-3
IOU_BAR = 0.995
BOX_BAR_PX = 1.0
_SMALL_PX = 400
"""A mask of fewer pixels has too few to say .995 of: one pixel at its edge is more."""

Depth = npt.NDArray[np.floating]
Ids = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One frame's comparison."""

    frame: int
    depth_median: float
    """Relative difference of the median pixel."""
    depth_share: float
    """Share of pixels within :data:`DEPTH_BAR`."""
    ious: dict[str, float]
    """By object, of those with at least :data:`_SMALL_PX` pixels in one of the two."""
    pixels: dict[str, tuple[int, int]]
    """Pixels of every object, ours and theirs."""
    boxes_px: dict[str, float]
    """Largest difference of a tight box's edge, by object."""


def compare(view: RenderedView, depth: Depth, ids: Ids, frame: int) -> Agreement:
    """A view of ours beside depth (H, W; metres along the axis) and ids (H, W) of theirs."""
    ours = view.arrays["distance_to_image_plane"]
    both = np.isfinite(ours) & (depth < view.camera.far_m)
    relative = np.abs(ours[both] - depth[both]) / ours[both]
    mine = view.arrays["instance_segmentation"]
    ious, pixels, boxes = {}, {}, {}
    for item in view.objects:
        one, other = mine == item.instance_id, ids == item.instance_id
        count = (int(one.sum()), int(other.sum()))
        if max(count) == 0:
            continue
        pixels[item.name] = count
        if max(count) >= _SMALL_PX:
            ious[item.name] = float((one & other).sum() / (one | other).sum())
            boxes[item.name] = float(np.abs(_box(one) - _box(other)).max())
    return Agreement(
        frame=frame,
        depth_median=float(np.median(relative)),
        depth_share=float((relative <= DEPTH_BAR).mean()),
        ious=ious,
        pixels=pixels,
        boxes_px=boxes,
    )


def _box(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return np.full(4, np.inf)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)


def agreements(scene: Path, frames: int, size: tuple[int, int] | None) -> Iterator[Agreement]:
    """Renders and compares frames of a scene's spec."""
    raw = yaml.safe_load((scene / "spec.yaml").read_text())
    if size is not None:
        for camera in raw["cameras"]:
            camera |= {"width_px": size[0], "height_px": size[1]}
    spec = Spec.model_validate(raw)
    root = scene / spec.scene.root
    catalog = read_catalog(root)
    with tempfile.TemporaryDirectory() as folder:
        settings = MitsubaSettings(variant="scalar_rgb", threads=1, kernel_cache=Path(folder))
        session = MitsubaBackend(settings).open(root)
        for frame in range(frames):
            parameters = sample(spec, catalog, frame)
            stage = Path(folder) / f"frame{frame}.usda"
            write_frame_stage(root, parameters, stage)
            for view in session.render(parameters, ("instance_segmentation",)):
                picture = blender.render(
                    {
                        "kind": "labels",
                        "stage": str(stage),
                        "camera": view.camera.name,
                        "size": [view.camera.width, view.camera.height],
                        "ids": {
                            item.name.rsplit("/")[-1]: item.instance_id for item in view.objects
                        },
                    }
                )
                depth = picture.channels["Depth.Z"]
                ids = np.rint(picture.channels["Object Index.X"]).astype(np.int64)
                yield compare(view, depth, ids, frame)
        session.close()


def main() -> int:
    """Prints the comparison; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", default="showroom")
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--size", default="", help="WIDTHxHEIGHT, the spec's own if not given")
    asked = parser.parse_args()
    width, _, height = asked.size.partition("x")
    size = (int(width), int(height)) if asked.size else None
    failed = False
    worst_iou, worst_box = 1.0, 0.0
    for item in agreements(SCENES / asked.scene, asked.frames, size):
        iou = min(item.ious.values(), default=1.0)
        box = max(item.boxes_px.values(), default=0.0)
        worst_iou, worst_box = min(worst_iou, iou), max(worst_box, box)
        ok = item.depth_share >= IOU_BAR and iou >= IOU_BAR and box <= BOX_BAR_PX
        failed |= not ok
        print(
            f"frame {item.frame}: depth median {item.depth_median:.1e}, within {DEPTH_BAR:g} "
            f"{item.depth_share:.4%}; mask IoU least {iou:.4f} of {len(item.ious)}; "
            f"box edges at most {box:.0f} px{'' if ok else '   MISSED'}"
        )
        for name, value in sorted(item.ious.items()):
            if value < IOU_BAR or item.boxes_px[name] > BOX_BAR_PX:
                print(
                    f"    {name}: IoU {value:.4f}, pixels ours and theirs {item.pixels[name]}, "
                    f"box {item.boxes_px[name]:.0f} px"
                )
    print(f"least IoU {worst_iou:.4f} (bar {IOU_BAR}), box {worst_box:.0f} px (bar {BOX_BAR_PX:g})")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
