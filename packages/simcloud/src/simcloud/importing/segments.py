"""COCO's segmentations, polygons and run lengths, and how they are painted. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import numpy.typing as npt

from simcloud.annotators import FIRST_CLASS_ID, UNLABELLED_ID
from simcloud.dataset.encode import Array
from simcloud.importing.types import SourceObject

Points = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Polygons:
    """Outlines of one object, which together are its mask."""

    outlines: tuple[Points, ...]
    """(N, 2) each: x, y in pixels, the picture's corner is 0, 0 and a pixel's centre .5, .5."""


@dataclass(frozen=True, slots=True, eq=False)
class RunLengths:
    """A mask down its columns, from the left: pixels outside, inside, outside, ..."""

    size: tuple[int, int]
    """Width and height of the mask."""
    counts: npt.NDArray[np.int64]


Segment = Polygons | RunLengths


def segment_of(value: object) -> Segment:
    """The ``segmentation`` of a COCO annotation, kept small.

    Raises:
        ValueError: it is neither polygons nor run lengths; says why.
    """
    if isinstance(value, list):
        return Polygons(tuple(_outline(item) for item in value))
    if not isinstance(value, dict):
        raise ValueError("segmentation is neither polygons nor run lengths")
    size, counts = value.get("size"), value.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(type(n) is int for n in size):
        raise ValueError("segmentation.size is not [height, width]")
    if isinstance(counts, str):
        runs = unpacked(counts)
    elif isinstance(counts, list) and all(type(n) is int for n in counts):
        runs = counts
    else:
        raise ValueError("segmentation.counts is neither a list of whole numbers nor a string")
    height, width = size
    if min(height, width) < 1 or min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(
            f"segmentation.counts are {sum(runs)} pixels, its size {width}x{height} has "
            f"{width * height}"
        )
    return RunLengths((width, height), np.array(runs, dtype=np.int64))


def _outline(value: object) -> Points:
    if not isinstance(value, list) or len(value) < 6 or len(value) % 2:
        raise ValueError("a polygon of the segmentation is not three points or more")
    if not all(type(number) in {int, float} for number in value):
        raise ValueError("a polygon of the segmentation has something that is no number")
    points = np.array(value, dtype=np.float32).reshape(-1, 2)
    if not np.isfinite(points).all():
        raise ValueError("a polygon of the segmentation is not finite")
    return points


def unpacked(text: str) -> list[int]:
    """Run lengths from COCO's string.

    A character from `0` on holds 5 bits, the lowest first, and says by its sixth that more follow.
    From the fourth run on, the number is the difference to the run before the last.

    Raises:
        ValueError: it ends within a number, or has other characters.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise ValueError(f"segmentation.counts has the character {character!r}")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("segmentation.counts ends within a number")
    return counts


def mask_of(segment: Segment, size: tuple[int, int]) -> Mask:
    """Which pixels are inside, (H, W).

    Args:
        segment: as ``segment_of`` read it.
        size: width and height of the picture.

    Raises:
        ValueError: run lengths of another size.
    """
    width, height = size
    if isinstance(segment, Polygons):
        mask = np.zeros((height, width), dtype=np.bool_)
        for outline in segment.outlines:
            mask |= filled(outline, size)
        return mask
    if segment.size != size:
        raise ValueError(
            f"segmentation is {segment.size[0]}x{segment.size[1]}, its picture {width}x{height}"
        )
    inside = np.arange(len(segment.counts)) % 2 == 1
    return cast("Mask", np.repeat(inside, segment.counts).reshape(width, height).T)


def filled(outline: Points, size: tuple[int, int]) -> Mask:
    """Pixels whose centre is inside of an outline by the even-odd rule, (H, W).

    Each edge is crossed by the rows whose centres lie between its ends, the lower end excluded, so
    that a corner counts once; every crossing turns all pixels right of it.
    """
    width, height = size
    begin = outline.astype(np.float64)
    end = np.roll(begin, -1, axis=0)
    low, high = np.minimum(begin[:, 1], end[:, 1]), np.maximum(begin[:, 1], end[:, 1])
    first = np.clip(np.ceil(low - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(high - 0.5), 0, height).astype(np.int64)
    rows_of = last - first
    edge = np.repeat(np.arange(len(begin)), rows_of)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(rows_of) - rows_of, rows_of) + first[edge]
    rise = end[edge, 1] - begin[edge, 1]
    share = (row + 0.5 - begin[edge, 1]) / rise
    x = begin[edge, 0] + share * (end[edge, 0] - begin[edge, 0])
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    turns = np.zeros((height, width + 1), dtype=np.int64)
    np.add.at(turns, (row, column), 1)
    return cast("Mask", np.cumsum(turns[:, :width], axis=1) % 2 == 1)


def painted(
    objects: Sequence[SourceObject],
    segments: Sequence[Segment],
    classes: Sequence[str],
    size: tuple[int, int],
) -> tuple[tuple[SourceObject, ...], dict[str, Array]]:
    """Objects with their ids and pixels, and both id layers.

    COCO says nothing of what is in front: the larger is painted first, so that what is smaller
    stays whole. A crowd region has its class in ``semantic_segmentation``, below all others, and is
    no instance: there it is unlabelled, as is all that nothing covers.

    Args:
        objects: of one picture.
        segments: of each.
        classes: every class of the source, in its order.
        size: width and height of the picture.

    Raises:
        ValueError: a mask of another size; the object's place is named.
    """
    semantic_ids = {label: FIRST_CLASS_ID + index for index, label in enumerate(classes)}
    masks = []
    for item, segment in zip(objects, segments, strict=True):
        try:
            masks.append(mask_of(segment, size))
        except ValueError as error:
            raise ValueError(f"{item.where}: {error}") from error
    pixels = [int(mask.sum()) for mask in masks]
    order = sorted(range(len(objects)), key=lambda n: (not objects[n].ignored, -pixels[n], n))
    semantic = np.full((size[1], size[0]), UNLABELLED_ID, dtype=np.uint16)
    instances = semantic.copy()
    for number in order:
        mask, item = masks[number], objects[number]
        semantic[mask] = semantic_ids[item.label]
        if not item.ignored:
            instances[mask] = FIRST_CLASS_ID + number
    return (
        tuple(_with_pixels(item, number, pixels[number]) for number, item in enumerate(objects)),
        {"semantic_segmentation": semantic, "instance_segmentation": instances},
    )


def _with_pixels(item: SourceObject, number: int, pixels: int) -> SourceObject:
    # The file's own area where it says one: a mask as its tool drew it, before it was rounded.
    visible = item.visible_px if item.visible_px is not None else pixels
    return replace(item, instance_id=FIRST_CLASS_ID + number, visible_px=visible)
