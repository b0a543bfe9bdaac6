"""A JSON file a picture that says how many of what is in it: the Amazon bin images have such."""

from __future__ import annotations

import json
from collections import defaultdict

from simcloud.importing.splits import listed_splits, split_of_path
from simcloud.importing.types import (
    Content,
    Labels,
    ReaderInput,
    SourceFrame,
    SourceObject,
    stem_of,
    suffix_of,
)

BIN_ITEMS = "BIN_FCSKU_DATA"
BIN_TOTAL = "EXPECTED_QUANTITY"
"""Keys of the Amazon bin image data set."""
TOTAL = "count.total"
KINDS = "count.kinds"
_MOST = 5000


async def read_counts(given: ReaderInput) -> Labels:
    """Pictures with counts; every counted thing is an object without a box."""
    splits = await listed_splits(given)
    documents: dict[str, list[str]] = defaultdict(list)
    for name in sorted(given.files):
        if suffix_of(name) == ".json":
            documents[stem_of(name)].append(name)
    frames, taken = [], set()
    for picture in given.pictures():
        found = documents.get(stem_of(picture), [])
        if len(found) > 1:
            found = [name for name in found if split_of_path(name) == split_of_path(picture)]
        if len(found) != 1:
            what = f"has {len(found)} JSON files of its name, not 1"
            given.problems.add(picture, what, picture=picture)
            continue
        taken.add(found[0])
        split = split_of_path(picture) or splits.get(stem_of(picture), "")
        frames.append(await _frame(found[0], picture, split, given))
    for name in (name for names in documents.values() for name in names):
        if name not in taken:
            given.problems.add(name, "is a label file of no picture", picture=name)
    return Labels(
        frames=frames,
        classes=tuple(sorted({item.label for frame in frames for item in frame.objects})),
        boxed=False,
        content=Content(given.source, given.limits),
    )


async def _frame(name: str, picture: str, split: str, given: ReaderInput) -> SourceFrame:
    objects: list[SourceObject] = []
    kinds = 0
    try:
        rows = counted(json.loads(await given.read(name)))
        kinds = len(rows)
        for label, (title, count) in sorted(rows.items()):
            objects += [
                SourceObject(label=label, box=None, name=title, where=name) for _ in range(count)
            ]
    except (ValueError, RecursionError) as error:
        given.problems.add(name, str(error), picture=picture)
    params = {TOTAL: len(objects), KINDS: kinds}
    return SourceFrame(picture=picture, split=split, objects=tuple(objects), params=params)


def counted(document: object) -> dict[str, tuple[str, int]]:
    """Title and count by class, from either form of document.

    Raises:
        ValueError: neither ``{class: count}`` (alone or below ``counts``) nor an Amazon bin's.
    """
    if not isinstance(document, dict):
        raise ValueError("is no JSON object")
    if BIN_ITEMS in document:
        return _bin(document)
    counts = document.get("counts", document)
    if not isinstance(counts, dict):
        raise ValueError("`counts` is no JSON object")
    return {str(label): ("", _count(count, str(label))) for label, count in counts.items()}


def _bin(document: dict[str, object]) -> dict[str, tuple[str, int]]:
    items = document[BIN_ITEMS]
    if not isinstance(items, dict):
        raise ValueError(f"{BIN_ITEMS} is no JSON object")
    result = {}
    for label, item in items.items():
        if not isinstance(item, dict):
            raise ValueError(f"{BIN_ITEMS}.{label} is no JSON object")
        title = str(item.get("name") or "")
        result[label] = (title, _count(item.get("quantity"), label))
    total = sum(count for _, count in result.values())
    if document.get(BIN_TOTAL, total) != total:
        raise ValueError(f"{BIN_TOTAL} is {document[BIN_TOTAL]}, its items are {total}")
    return result


def _count(value: object, label: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        raise ValueError(f"{label}: {value!r} is no count from 0 to {_MOST}")
    return value
