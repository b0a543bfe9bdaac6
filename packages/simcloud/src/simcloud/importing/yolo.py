"""YOLO: a text file a picture, a line an object: class, centre and size in shares."""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from simcloud.errors import InvalidRequest
from simcloud.importing.splits import listed_splits, split_named, split_of_path
from simcloud.importing.types import (
    BoxF,
    Content,
    Labels,
    ReaderInput,
    SourceFrame,
    SourceObject,
    folder_of,
    stem_of,
    suffix_of,
)

NAME_FILES = ("data.yaml", "data.yml", "dataset.yaml", "classes.txt", "obj.names")
_LIST_NAMES = re.compile(r"(readme|license|requirements|notice)", re.IGNORECASE)


async def read_yolo(given: ReaderInput) -> Labels:
    """Every picture, with the boxes of the text file that belongs to it; none is no object."""
    classes = await _classes(given)
    splits = await listed_splits(given)
    labels = {_key(name): name for name in sorted(given.files) if _is_label(name, given)}
    frames: list[SourceFrame] = []
    taken: set[str] = set()
    for picture in given.pictures():
        key = _key(picture)
        label = labels.get(key, "")
        if label and label in taken:
            given.problems.add(
                label, f"belongs to several pictures, {picture} too", picture=picture
            )
        taken.add(label)
        rows = await given.read(label) if label else b""
        frames.append(
            SourceFrame(
                picture=picture,
                split=split_of_path(picture) or splits.get(stem_of(picture), ""),
                objects=tuple(_objects(rows, label, picture, classes, given)),
            )
        )
    for label in sorted(set(labels.values()) - taken):
        given.problems.add(label, "is a label file of no picture", picture=label)
    return Labels(
        frames=frames,
        classes=tuple(sorted(set(classes))),
        boxed=True,
        content=Content(given.source, given.limits),
    )


def _key(name: str) -> str:
    """What a picture and its label file have in common: ``images`` and ``labels`` are one."""
    parts = [part for part in folder_of(name).split("/") if part not in {"images", "labels"}]
    return "/".join((*parts, stem_of(name)))


def _is_label(name: str, given: ReaderInput) -> bool:
    base = name.rsplit("/", 1)[-1]
    if suffix_of(name) != ".txt" or base in NAME_FILES or name == given.labels_file:
        return False
    in_labels = "labels" in folder_of(name).split("/")
    return in_labels or not (split_named(stem_of(name)) or _LIST_NAMES.match(base))


async def _classes(given: ReaderInput) -> list[str]:
    """Class names by number."""
    wanted = [given.labels_file] if given.labels_file else []
    for base in NAME_FILES if not wanted else ():
        wanted += [name for name in sorted(given.files) if name.rsplit("/", 1)[-1] == base]
    if not wanted:
        raise InvalidRequest(
            given.source.label,
            f"has no class names: none of {', '.join(NAME_FILES)}; name the file with --labels",
        )
    name = wanted[0]
    try:
        text = (await given.read(name)).decode("utf-8")
        plain = yaml.safe_load(text) if suffix_of(name) in {".yaml", ".yml"} else None
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise InvalidRequest(name, f"can't be read: {error}") from error
    if plain is None:
        return [line.strip() for line in text.splitlines() if line.strip()]
    return _listed_names(plain, name)


def _listed_names(plain: object, name: str) -> list[str]:
    names = plain.get("names") if isinstance(plain, dict) else None
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise InvalidRequest(name, "`names` is no list of class names, nor a table from 0 on")
    return [str(item) for item in names]


def _objects(
    data: bytes, label: str, picture: str, classes: list[str], given: ReaderInput
) -> Iterator[SourceObject]:
    for number, line in enumerate(data.decode("utf-8", errors="replace").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        where = f"{label}:{number}"
        try:
            kind, box = _row(words)
            if not 0 <= kind < len(classes):
                raise ValueError(f"class {kind} has no name; there are 0 to {len(classes) - 1}")
        except ValueError as error:
            given.problems.add(where, str(error), picture=picture)
            continue
        yield SourceObject(label=classes[kind], box=box, relative=True, where=where)


def _row(words: list[str]) -> tuple[int, BoxF]:
    """A box, or the box around a polygon."""
    try:
        kind, values = int(words[0]), [float(word) for word in words[1:]]
    except ValueError as error:
        raise ValueError(f"is no row of numbers: {error}") from error
    if len(values) == 4:
        x, y, width, height = values
        return kind, (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    if len(values) >= 6 and len(values) % 2 == 0:
        across, down = values[0::2], values[1::2]
        return kind, (min(across), min(down), max(across), max(down))
    raise ValueError(f"has {len(words)} columns: a box has 5, a polygon 7, 9 or more odd ones")
