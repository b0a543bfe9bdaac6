"""Pascal VOC: an XML file a picture, as PASCAL, LabelImg and the NEU surface defects have it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from simcloud.importing.splits import listed_splits, split_of_path
from simcloud.importing.types import (
    BoxF,
    Content,
    Labels,
    ReaderInput,
    SourceFrame,
    SourceObject,
    stem_of,
    suffix_of,
)

_MAX_DEPTH = 50
_MAX_XML_BYTES = 16 << 20


async def read_voc(given: ReaderInput) -> Labels:
    """Pictures with an XML file of the same name; difficult objects are ignored ones."""
    splits = await listed_splits(given)
    pictures: dict[str, list[str]] = defaultdict(list)
    for name in given.pictures():
        pictures[stem_of(name)].append(name)
    frames: dict[str, SourceFrame] = {}
    for name in sorted(name for name in given.files if suffix_of(name) == ".xml"):
        picture = _picture_of(name, pictures)
        if picture is None:
            given.problems.add(name, "is a label file of no picture, or of several", picture=name)
            continue
        if picture in frames:
            given.problems.add(name, f"{picture} is labelled twice", picture=picture)
            continue
        split = splits.get(stem_of(picture), "") or split_of_path(picture)
        frames[picture] = await _frame(name, picture, split, given)
    left = [name for names in pictures.values() for name in names if name not in frames]
    for name in left:
        # A set without objects has files that say so; a picture without one is a slip.
        given.problems.add(name, "has no XML file of its name", picture=name)
    classes = {item.label for frame in frames.values() for item in frame.objects}
    return Labels(
        frames=list(frames.values()),
        classes=tuple(sorted(classes)),
        boxed=True,
        content=Content(given.source, given.limits),
    )


def _picture_of(name: str, pictures: dict[str, list[str]]) -> str | None:
    found = pictures.get(stem_of(name), [])
    if len(found) > 1:
        found = [item for item in found if split_of_path(item) == split_of_path(name)]
    return found[0] if len(found) == 1 else None


async def _frame(name: str, picture: str, split: str, given: ReaderInput) -> SourceFrame:
    objects: tuple[SourceObject, ...] = ()
    declared = None
    try:
        root = parse_xml(await given.read(name))
        if root.tag != "annotation":
            raise ValueError(f"its root is <{root.tag}>, not <annotation>")
        objects = tuple(_objects(root, name))
        if root.find("size/width") is not None:
            declared = (int(_number(root, "size/width")), int(_number(root, "size/height")))
    except (ValueError, OverflowError) as error:
        given.problems.add(name, str(error), picture=picture)
    return SourceFrame(picture=picture, split=split, objects=objects, declared=declared)


def _objects(root: Element, name: str) -> Iterator[SourceObject]:
    for number, item in enumerate(root.iter("object")):
        where = f"{name}#object[{number}]"
        label = (item.findtext("name") or "").strip()
        if not label:
            raise ValueError(f"object[{number}] has no name")
        # Pixels are counted from 1 and the maximum is the last one inside (VOC devkit, 4.1).
        box: BoxF = (
            _number(item, "bndbox/xmin") - 1,
            _number(item, "bndbox/ymin") - 1,
            _number(item, "bndbox/xmax"),
            _number(item, "bndbox/ymax"),
        )
        difficult = (item.findtext("difficult") or "0").strip() == "1"
        yield SourceObject(label=label, box=box, ignored=difficult, where=where)


def _number(item: Element, path: str) -> float:
    text = (item.findtext(path) or "").strip()
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{path} is {text!r}, no number") from error


def parse_xml(data: bytes) -> Element:
    """A document without document type: no entity is ever defined or fetched.

    Raises:
        ValueError: not well formed, too large, too deep, or with a document type.
    """
    if len(data) > _MAX_XML_BYTES:
        raise ValueError(f"has {len(data)} bytes; an XML label has at most {_MAX_XML_BYTES}")
    builder, parser, depth = TreeBuilder(), expat.ParserCreate(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_DEPTH:
            raise ValueError(f"is nested deeper than {_MAX_DEPTH}")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def doctype(*_: object) -> None:
        raise ValueError("has a document type: entities are not taken from labels")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ValueError(f"is no XML: {error}") from error
    return builder.close()
