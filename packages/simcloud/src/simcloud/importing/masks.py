"""Mask folders: a second picture a picture, in which what is not black is a defect."""

from __future__ import annotations

import asyncio
import re

import numpy as np

from simcloud.annotators import FIRST_CLASS_ID, UNLABELLED_ID
from simcloud.errors import InvalidRequest
from simcloud.importing.pictures import decode_ids
from simcloud.importing.splits import listed_splits, split_of_path
from simcloud.importing.types import (
    Content,
    FrameContent,
    Labels,
    ReaderInput,
    SourceFrame,
    SourceObject,
    folder_of,
    stem_of,
)

MASK_STEM = re.compile(r"(.+?)[_-](GT|gt|mask|label)")
MASK_FOLDERS = frozenset({"masks", "mask", "ground_truth", "gt", "segmentation"})
LABEL = "defect"
"""A mask without class names says only that something is there."""
_MASK = "mask"
_JOINED = 8
"""Pixels that touch at a corner belong together."""
_MOST_IDS = 65_535 - FIRST_CLASS_ID


async def read_masks(given: ReaderInput) -> Labels:
    """Pictures with their masks; each connected region is an object of class ``defect``."""
    splits = await listed_splits(given)
    masks: dict[str, str] = {}
    pictures: list[str] = []
    for name in given.pictures():
        key = mask_key(name)
        if key is None:
            pictures.append(name)
        elif key in masks:
            given.problems.add(name, f"is a second mask beside {masks[key]}", picture=name)
        else:
            masks[key] = name
    frames = []
    for picture in pictures:
        mask = masks.pop(_picture_key(picture), "")
        if not mask:
            given.problems.add(picture, "has no mask", picture=picture)
        frames.append(
            SourceFrame(
                picture=picture,
                split=split_of_path(picture) or splits.get(stem_of(picture), ""),
                extra={_MASK: mask},
            )
        )
    for mask in masks.values():
        given.problems.add(mask, "is a mask of no picture", picture=mask)
    return Labels(
        frames=frames,
        classes=(LABEL,),
        boxed=True,
        content=MaskContent(given.source, given.limits),
    )


def mask_key(name: str) -> str | None:
    """What a mask has in common with its picture; None for what is no mask."""
    parts = folder_of(name).split("/")
    found = MASK_STEM.fullmatch(stem_of(name))
    stem = found[1] if found else stem_of(name)
    if found or any(part.lower() in MASK_FOLDERS for part in parts):
        return _key(parts, stem)
    return None


def _picture_key(name: str) -> str:
    return _key(folder_of(name).split("/"), stem_of(name))


def _key(parts: list[str], stem: str) -> str:
    kept = [part for part in parts if part.lower() not in MASK_FOLDERS | {"images"}]
    return "/".join((*kept, stem))


class MaskContent(Content):
    """Frames whose objects are in their masks."""

    annotators = ("semantic_segmentation", "instance_segmentation")

    async def content(self, frame: SourceFrame, size: tuple[int, int]) -> FrameContent:
        """Objects and id layers, from the mask.

        Raises:
            InvalidRequest: the mask is no picture, or of another size than its picture.
        """
        mask = frame.extra[_MASK]
        if not mask:
            return FrameContent(objects=())
        data = await self._source.read(mask, limit=self._limits.picture_bytes)
        try:
            return await asyncio.to_thread(regions, data, size, mask)
        except ValueError as error:
            raise InvalidRequest(mask, str(error)) from error


def regions(data: bytes, size: tuple[int, int], where: str) -> FrameContent:
    """Connected regions of a mask, as objects and as ids.

    Raises:
        ValueError: no picture, of another size, or of too many regions.
    """
    import cv2

    mask = decode_ids(data)
    shown = mask[:, :, :3].any(axis=2) if mask.ndim == 3 else mask != 0
    if shown.shape != (size[1], size[0]):
        raise ValueError(
            f"is {shown.shape[1]}x{shown.shape[0]}, its picture is {size[0]}x{size[1]}"
        )
    binary = np.asarray(shown, dtype=np.uint8)
    count, ids, boxes, _ = cv2.connectedComponentsWithStats(binary, connectivity=_JOINED)
    if count - 1 > _MOST_IDS:
        raise ValueError(f"has {count - 1} separate regions; at most {_MOST_IDS} have ids")
    objects = []
    for number in range(1, count):
        x, y, width, height, area = (int(value) for value in boxes[number])
        objects.append(
            SourceObject(
                label=LABEL,
                box=(x, y, x + width, y + height),
                visible_px=area,
                instance_id=FIRST_CLASS_ID + number - 1,
                where=where,
            )
        )
    instances = np.where(ids == 0, UNLABELLED_ID, ids + FIRST_CLASS_ID - 1).astype(np.uint16)
    semantic = np.where(shown, FIRST_CLASS_ID, UNLABELLED_ID).astype(np.uint16)
    return FrameContent(
        objects=tuple(objects),
        layers={"semantic_segmentation": semantic, "instance_segmentation": instances},
    )
