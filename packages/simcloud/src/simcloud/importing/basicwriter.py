"""A folder of Replicator's BasicWriter: files by annotator and frame number."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import replace

from simcloud.errors import InvalidRequest
from simcloud.importing import writer_files as files
from simcloud.importing.pictures import decode_ids
from simcloud.importing.splits import split_of_path
from simcloud.importing.types import (
    Content,
    FrameContent,
    ImportLimits,
    Labels,
    ReaderInput,
    Source,
    SourceFrame,
    SourceObject,
    folder_of,
)

RGB = re.compile(r"(.*_)?rgb_(\d{4,})\.(png|jpg|jpeg)")
BOXES = "bounding_box_2d_tight"
LOOSE = "bounding_box_2d_loose"
SOLIDS = "bounding_box_3d"
SEMANTIC = "semantic_segmentation"
INSTANCE = "instance_segmentation"
INSTANCE_ID = "instance_id_segmentation"
"""By mesh rather than by labelled prim; taken where there is no ``instance_segmentation``."""
CAMERA = "camera_params"
_DEPTH = ("distance_to_camera", "distance_to_image_plane")

_FILES: dict[str, tuple[str, str]] = {
    BOXES: (BOXES, "npy"),
    f"{BOXES}.labels": (f"{BOXES}_labels", "json"),
    f"{BOXES}.prims": (f"{BOXES}_prim_paths", "json"),
    **{name: (name, "npy") for name in (LOOSE, SOLIDS)},
    **{f"{name}.prims": (f"{name}_prim_paths", "json") for name in (LOOSE, SOLIDS)},
    SEMANTIC: (SEMANTIC, "png"),
    f"{SEMANTIC}.labels": (f"{SEMANTIC}_labels", "json"),
    INSTANCE: (INSTANCE, "png"),
    f"{INSTANCE}.mapping": (f"{INSTANCE}_mapping", "json"),
    INSTANCE_ID: (INSTANCE_ID, "png"),
    f"{INSTANCE_ID}.mapping": (f"{INSTANCE_ID}_mapping", "json"),
    CAMERA: (CAMERA, "json"),
    **{name: (name, "npy") for name in _DEPTH},
}
"""File names before the number, and suffixes, by what they are (omni.replicator.core)."""
_NEEDED = {
    BOXES: (f"{BOXES}.labels",),
    SEMANTIC: (f"{SEMANTIC}.labels",),
    INSTANCE: (f"{INSTANCE}.mapping", BOXES, f"{BOXES}.prims"),
    INSTANCE_ID: (f"{INSTANCE_ID}.mapping", BOXES, f"{BOXES}.prims"),
    LOOSE: (f"{LOOSE}.prims", BOXES, f"{BOXES}.prims"),
    SOLIDS: (f"{SOLIDS}.prims", BOXES, f"{BOXES}.prims", CAMERA),
}
"""Without these an annotator's file means nothing; instances are the objects of the tight boxes,
and the camera's file says how long a unit of the stage is."""
_LEFT_OUT = re.compile(
    r"(?:.*_)?(normals|motion_vectors|occlusion|pointcloud|skeleton_data)_\d{4,}\.(?:png|npy|json)"
)
"""What a frame has no place for, or what is written too coarsely: normals as 8-bit colours."""


async def read_basicwriter(given: ReaderInput) -> Labels:
    """Every frame that has an ``rgb`` file, with whatever else all of them have."""
    found = list(_frames(given))
    kinds = {kind for frame in found for kind in frame.extra}
    for annotator, needed in _NEEDED.items():
        if annotator in kinds and not kinds.issuperset(needed):
            lacking = ", ".join(sorted(set(needed) - kinds))
            given.problems.note(f"{annotator} is left out: there is no {lacking}")
            kinds.discard(annotator)
    if INSTANCE in kinds:
        kinds -= {INSTANCE_ID, f"{INSTANCE_ID}.mapping"}
    left_out = {match[1] for name in given.files if (match := _LEFT_OUT.fullmatch(_base(name)))}
    if left_out:
        given.problems.note(f"{', '.join(sorted(left_out))}: left out, see the guide to importing")
    classes: set[str] = set()
    for frame in found:
        for kind in sorted(kinds - frame.extra.keys()):
            given.problems.add(frame.picture, f"has no {kind}", picture=frame.key)
        classes |= await _classes(frame, kinds, given)
    names = tuple(sorted(classes))
    return Labels(
        frames=found,
        classes=names,
        boxed=BOXES in kinds,
        rows=tuple(name for name in (LOOSE, SOLIDS) if name in kinds),
        content=WriterContent(given.source, given.limits, classes=names, kinds=frozenset(kinds)),
    )


def _frames(given: ReaderInput) -> Iterator[SourceFrame]:
    for name in given.pictures():
        match = RGB.fullmatch(_base(name))
        if match is None:
            continue
        folder, prefix, number = folder_of(name), match[1] or "", match[2]
        extra = {}
        for kind, (stem, suffix) in _FILES.items():
            base = f"{prefix}{stem}_{number}.{suffix}"
            beside = folder_of(folder)
            annotator = kind.partition(".")[0]
            apart = f"{beside}/{annotator}/{base}" if beside else f"{annotator}/{base}"
            together = f"{folder}/{base}" if folder else base
            for path in (together, apart):
                if path in given.files:
                    extra[kind] = path
        yield SourceFrame(picture=name, split=split_of_path(name), extra=extra)


def _base(name: str) -> str:
    return name.rsplit("/", 1)[-1]


async def _classes(frame: SourceFrame, kinds: set[str], given: ReaderInput) -> set[str]:
    found: set[str] = set()
    for annotator in (BOXES, SEMANTIC):
        name = frame.extra.get(f"{annotator}.labels", "")
        if annotator not in kinds or not name:
            continue
        try:
            table = files.labels_of(json.loads(await given.read(name)))
        except (ValueError, RecursionError) as error:
            given.problems.add(name, str(error), picture=frame.key)
            continue
        found |= {label for label in table.values() if label not in files.NOT_CLASSES}
    return found


class WriterContent(Content):
    """Frames of a BasicWriter.

    Args:
        source: already checked.
        limits: of what is read.
        classes: every class of the source, in alphabetic order.
        kinds: which files every frame has.
    """

    def __init__(
        self,
        source: Source,
        limits: ImportLimits,
        *,
        classes: tuple[str, ...],
        kinds: frozenset[str],
    ) -> None:
        super().__init__(source, limits)
        self._classes = classes
        self._kinds = kinds
        self._instances = INSTANCE_ID if INSTANCE_ID in kinds else INSTANCE
        layers = (SEMANTIC, self._instances, *_DEPTH)
        self.annotators = tuple(
            INSTANCE if name == INSTANCE_ID else name for name in layers if name in kinds
        )

    async def content(self, frame: SourceFrame, size: tuple[int, int]) -> FrameContent:
        """Boxes, ids, depth and camera.

        Raises:
            InvalidRequest: a file is not what BasicWriter writes.
        """
        raw = {}
        for kind in sorted(self._kinds & frame.extra.keys()):
            name = frame.extra[kind]
            raw[kind] = await self._source.read(name, limit=self._limits.picture_bytes)
        return await asyncio.to_thread(self._made, frame, raw, size)

    def _made(
        self, frame: SourceFrame, raw: dict[str, bytes], size: tuple[int, int]
    ) -> FrameContent:
        where = frame.picture
        try:
            view = None
            metres = 1.0
            if CAMERA in raw:
                where = frame.extra[CAMERA]
                view, metres = files.camera(json.loads(raw[CAMERA]), size)
            objects: tuple[SourceObject, ...] = ()
            if BOXES in raw:
                where = frame.extra[BOXES]
                prims = json.loads(raw.get(f"{BOXES}.prims", b"[]"))
                labels = files.labels_of(json.loads(raw[f"{BOXES}.labels"]))
                objects = files.boxes(raw[BOXES], labels, prims, where)
            if LOOSE in raw:
                where = frame.extra[LOOSE]
                loose = files.loose_boxes(raw[LOOSE], json.loads(raw[f"{LOOSE}.prims"]), size)
                objects = tuple(replace(item, loose=loose.get(item.prim)) for item in objects)
            if SOLIDS in raw:
                where = frame.extra[SOLIDS]
                solids = files.solids(raw[SOLIDS], json.loads(raw[f"{SOLIDS}.prims"]), metres)
                objects = tuple(replace(item, solid=solids.get(item.prim)) for item in objects)
            layers = {}
            if SEMANTIC in raw:
                where = frame.extra[SEMANTIC]
                labels = files.labels_of(json.loads(raw[f"{SEMANTIC}.labels"]))
                ids = files.semantic_ids(labels, self._classes)
                layers[SEMANTIC] = files.mapped(decode_ids(raw[SEMANTIC]), ids, size)
            named = self._instances
            if named in raw:
                where = frame.extra[named]
                mapping = json.loads(raw[f"{named}.mapping"])
                ids = files.instance_ids(mapping, objects)
                layers[INSTANCE] = files.mapped(decode_ids(raw[named]), ids, size)
                objects = files.counted(objects, layers[INSTANCE])
            for name in _DEPTH:
                if name in raw:
                    where = frame.extra[name]
                    layers[name] = files.depth(raw[name], size) * metres
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InvalidRequest(where, f"is not as BasicWriter writes it: {error}") from error
        return FrameContent(objects=objects, layers=layers, view=view)
