"""COCO: one JSON file a split, with images, annotations and categories."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ConfigDict, ValidationError

from simcloud.errors import InvalidRequest
from simcloud.importing.segments import Segment, painted, segment_of
from simcloud.importing.splits import split_of_file, split_of_path
from simcloud.importing.types import (
    BoxF,
    Content,
    FrameContent,
    ImportLimits,
    Labels,
    ReaderInput,
    Source,
    SourceFrame,
    SourceObject,
    folder_of,
    suffix_of,
)
from simcloud.spec.canonical import problems as problems_of

_SHOWN = 20


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Image(_Row):
    id: int
    file_name: str
    width: int | None = None
    height: int | None = None


class _Annotation(_Row):
    image_id: int
    category_id: int
    # Numbers are checked with the picture at hand, so that one slip costs one picture.
    bbox: tuple[float, ...] = ()
    area: float | None = None
    iscrowd: int = 0
    segmentation: object = None


class _Category(_Row):
    id: int
    name: str


class _File(_Row):
    images: list[_Image]
    annotations: list[_Annotation] = []
    categories: list[_Category] = []


async def read_coco(given: ReaderInput) -> Labels:
    """The pictures that the JSON files name, with boxes and masks; crowd regions are ignored."""
    frames: dict[str, SourceFrame] = {}
    segments = _Segments(given)
    classes: set[str] = set()
    finder = _Finder(given)
    for name in await _label_files(given):
        parsed = _parsed(await given.read(name), name, given)
        if parsed is None:
            continue
        classes |= {item.name for item in parsed.categories}
        for frame in _frames(parsed, name, given, finder, segments):
            if frame.picture in frames:
                given.problems.add(
                    name, f"{frame.picture} is labelled twice", picture=frame.picture
                )
            frames[frame.picture] = frame
    left = len(set(given.pictures()) - frames.keys())
    if left:
        given.problems.note(f"{left} pictures have no entry in the labels: left out")
    names = tuple(sorted(classes))
    return Labels(
        frames=list(frames.values()),
        classes=names,
        boxed=True,
        content=segments.content(names),
    )


class _Segments:
    """The masks of all annotations, as they are read: by the place that each object names."""

    def __init__(self, given: ReaderInput) -> None:
        self._given = given
        self._found: dict[str, Segment] = {}
        self._lacking = 0

    def add(self, value: object, where: str, picture: str) -> None:
        """An annotation's ``segmentation``."""
        if not self._given.masks:
            return
        if not value:
            self._lacking += 1
            return
        try:
            self._found[where] = segment_of(value)
        except ValueError as error:
            self._given.problems.add(where, str(error), picture=picture)

    def content(self, classes: tuple[str, ...]) -> Content:
        """What frames hold: masks if every object has one."""
        given = self._given
        if not self._found or self._lacking:
            if self._found:
                total = len(self._found) + self._lacking
                given.problems.note(
                    f"{self._lacking} of {total} annotations have no segmentation: no masks are "
                    "painted"
                )
            return Content(given.source, given.limits)
        return CocoContent(given.source, given.limits, classes=classes, segments=self._found)


class CocoContent(Content):
    """Frames whose objects have masks.

    Args:
        source: already checked.
        limits: of what is read.
        classes: every class of the source, in alphabetic order.
        segments: masks by the ``where`` of their objects.
    """

    annotators = ("semantic_segmentation", "instance_segmentation")

    def __init__(
        self,
        source: Source,
        limits: ImportLimits,
        *,
        classes: tuple[str, ...],
        segments: Mapping[str, Segment],
    ) -> None:
        super().__init__(source, limits)
        self._classes = classes
        self._segments = segments

    async def content(self, frame: SourceFrame, size: tuple[int, int]) -> FrameContent:
        """Objects and id layers.

        Raises:
            InvalidRequest: a mask is of another size than its picture.
        """
        segments = [self._segments[item.where] for item in frame.objects]
        try:
            objects, layers = await asyncio.to_thread(
                painted, frame.objects, segments, self._classes, size
            )
        except ValueError as error:
            raise InvalidRequest(frame.key, str(error)) from error
        return FrameContent(objects=objects, layers=layers)


async def _label_files(given: ReaderInput) -> list[str]:
    if given.labels_file:
        return [given.labels_file]
    names = sorted(name for name in given.files if suffix_of(name) == ".json")
    instances = [name for name in names if name.rsplit("/", 1)[-1].startswith("instances")]
    chosen = instances or [name for name in names if await looks_like_coco(given, name)]
    if not chosen:
        raise InvalidRequest(
            given.source.label, "has no COCO JSON file: name it with --labels, or another --format"
        )
    return chosen


async def looks_like_coco(given: ReaderInput, name: str) -> bool:
    """Whether a JSON file has COCO's keys; it is not parsed."""
    data = await given.read(name)
    return all(key in data for key in (b'"images"', b'"annotations"', b'"categories"'))


def _parsed(data: bytes, name: str, given: ReaderInput) -> _File | None:
    try:
        return _File.model_validate_json(data)
    except ValidationError as error:
        for path, what in problems_of(error)[:_SHOWN]:
            given.problems.add(name, f"{path}: {what}" if path else what)
        return None


class _Finder:
    """Where a picture is that a label file names."""

    def __init__(self, given: ReaderInput) -> None:
        self._names = frozenset(given.files)
        self._by_base: dict[str, list[str]] = defaultdict(list)
        for name in given.pictures():
            self._by_base[name.rsplit("/", 1)[-1]].append(name)

    def find(self, file_name: str, labels: str, split: str) -> str | None:
        """The file: as it is called, beside the labels, or the only one of its name."""
        beside = folder_of(labels)
        for folder in ("", beside, folder_of(beside), "images"):
            path = f"{folder}/{file_name}" if folder else file_name
            if path in self._names:
                return path
        same = self._by_base.get(file_name.rsplit("/", 1)[-1], [])
        same = [name for name in same if name.endswith("/" + file_name)]
        of_split = [name for name in same if split and split_of_path(name) == split]
        for candidates in (of_split, same):
            if len(candidates) == 1:
                return candidates[0]
        return None


def _frames(
    parsed: _File, name: str, given: ReaderInput, finder: _Finder, segments: _Segments
) -> Iterator[SourceFrame]:
    categories = {item.id: item.name for item in parsed.categories}
    if len(categories) != len(parsed.categories):
        given.problems.add(name, "categories: an id is used twice")
    images = {item.id: item for item in parsed.images}
    if len(images) != len(parsed.images):
        given.problems.add(name, "images: an id is used twice")
    by_image: dict[int, list[tuple[int, _Annotation]]] = defaultdict(list)
    for index, item in enumerate(parsed.annotations):
        if item.image_id not in images:
            where = f"{name}#annotations[{index}]"
            given.problems.add(where, f"image_id {item.image_id} is no image", picture=where)
        by_image[item.image_id].append((index, item))
    for image in images.values():
        split = split_of_file(name) or split_of_path(name)
        picture = finder.find(image.file_name, name, split)
        if picture is None:
            given.problems.add(
                name, f"picture {image.file_name} is missing", picture=image.file_name
            )
            continue
        known = image.width is not None and image.height is not None
        yield SourceFrame(
            picture=picture,
            split=split or split_of_path(picture),
            declared=(image.width or 0, image.height or 0) if known else None,
            objects=tuple(
                _objects(
                    by_image[image.id], name, picture, categories, given=given, segments=segments
                )
            ),
        )


def _objects(
    rows: list[tuple[int, _Annotation]],
    name: str,
    picture: str,
    categories: dict[int, str],
    *,
    given: ReaderInput,
    segments: _Segments,
) -> Iterator[SourceObject]:
    for index, item in rows:
        where = f"{name}#annotations[{index}]"
        label = categories.get(item.category_id)
        if label is None:
            given.problems.add(
                where, f"category_id {item.category_id} is no category", picture=picture
            )
        elif len(item.bbox) != 4:
            given.problems.add(where, f"bbox has {len(item.bbox)} numbers, not 4", picture=picture)
        else:
            segments.add(item.segmentation, where, picture)
            x, y, width, height = item.bbox
            box: BoxF = (x, y, x + width, y + height)
            masked = bool(item.segmentation) and item.area is not None and 0 < item.area < 2**53
            yield SourceObject(
                label=label,
                box=box,
                ignored=item.iscrowd != 0,
                visible_px=round(item.area or 0) if masked else None,
                where=where,
            )
