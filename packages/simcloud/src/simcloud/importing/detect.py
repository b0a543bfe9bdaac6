"""Which format a source has, by its files' names; says what it saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from simcloud.errors import InvalidRequest
from simcloud.importing.basicwriter import RGB, read_basicwriter
from simcloud.importing.cifar import cifar_folder, read_cifar
from simcloud.importing.classes import class_of, read_classes
from simcloud.importing.coco import looks_like_coco, read_coco
from simcloud.importing.counts import read_counts
from simcloud.importing.masks import MASK_FOLDERS, MASK_STEM, read_masks
from simcloud.importing.types import (
    FORMATS,
    PICTURES,
    Labels,
    ReaderInput,
    folder_of,
    stem_of,
    suffix_of,
)
from simcloud.importing.voc import read_voc
from simcloud.importing.yolo import NAME_FILES, read_yolo

READERS: dict[str, Callable[[ReaderInput], Awaitable[Labels]]] = {
    "coco": read_coco,
    "yolo": read_yolo,
    "voc": read_voc,
    "masks": read_masks,
    "counts": read_counts,
    "classes": read_classes,
    "cifar": read_cifar,
    "basicwriter": read_basicwriter,
}
assert tuple(READERS) == FORMATS

_FEW_JSON = 64
"""More JSON files than a COCO set has splits: they are a file a picture."""


async def detect(given: ReaderInput) -> tuple[str, str]:
    """Format and what it was told by.

    Raises:
        InvalidRequest: none fits; says which files there are.
    """
    names = sorted(given.files)
    pictures = given.pictures()
    found = _by_names(names, pictures)
    if found is not None:
        return found
    documents = [name for name in names if suffix_of(name) == ".json"]
    if given.labels_file and suffix_of(given.labels_file) == ".json":
        documents = [given.labels_file]
    for name in documents if len(documents) <= _FEW_JSON else ():
        if await looks_like_coco(given, name):
            return "coco", f"{name} has images, annotations and categories"
    found = _by_folders(names, pictures, documents)
    if found is not None:
        return found
    kinds = Counter(suffix_of(name) or "no suffix" for name in names).most_common(8)
    seen = ", ".join(f"{count} {kind}" for kind, count in kinds) or "no files"
    raise InvalidRequest(
        given.source.label, f"is of no format that is known (it has {seen}): say --format"
    )


def _by_names(names: Sequence[str], pictures: Sequence[str]) -> tuple[str, str] | None:
    """Formats that file names alone tell."""
    if cifar_folder(list(names)):
        return "cifar", "batches beside their class names"
    for name in pictures:
        if RGB.fullmatch(name.rsplit("/", 1)[-1]):
            return "basicwriter", f"{name} is called as BasicWriter's pictures are"
    for name in names:
        if suffix_of(name) == ".xml":
            return "voc", f"{name} is an XML file"
    for name in names:
        if name.rsplit("/", 1)[-1] in NAME_FILES:
            return "yolo", f"{name} has class names"
    return None


def _by_folders(
    names: Sequence[str], pictures: Sequence[str], documents: Sequence[str]
) -> tuple[str, str] | None:
    """Formats that are told by what stands beside what."""
    for name in pictures:
        parts = {part.lower() for part in folder_of(name).split("/")}
        if MASK_STEM.fullmatch(stem_of(name)) or parts & MASK_FOLDERS:
            return "masks", f"{name} is called as masks are"
    stems = {stem_of(name) for name in pictures}
    for name in documents:
        if stem_of(name) in stems:
            return "counts", f"{name} has the name of a picture"
    for name in names:
        if suffix_of(name) == ".txt" and "labels" in folder_of(name).split("/"):
            return "yolo", f"{name} is in a folder called labels"
    classes = {class_of(name) for name in names if suffix_of(name) in PICTURES}
    if classes and "" not in classes:
        return "classes", f"every picture is in a folder: {', '.join(sorted(classes)[:8])}"
    return None
