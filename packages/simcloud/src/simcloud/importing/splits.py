"""Splits as sources have them: folders called train, val and test, or lists of names."""

from __future__ import annotations

import re

from simcloud.importing.types import ReaderInput, folder_of, stem_of, suffix_of

ORDER = ("train", "val", "test")
UNASSIGNED = "unassigned"
"""Split of a picture without one, where others of its source have one."""

_NAMES = {
    "train": "train",
    "training": "train",
    "trainval": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
_WORD = re.compile(r"[a-z]+")


def split_named(word: str) -> str:
    """The split that a folder or a list is called after (``train2017`` too); empty: none."""
    found = _WORD.match(word.lower())
    rest = word[found.end() :] if found else ""
    return _NAMES.get(found[0], "") if found and (not rest or rest.isdigit()) else ""


def split_of_path(name: str) -> str:
    """The split of a file by the folders it is in, the outermost first; empty: none."""
    for part in folder_of(name).split("/"):
        if split := split_named(part):
            return split
    return ""


def split_of_file(name: str) -> str:
    """The split that a file's own name says: ``instances_train2017.json``; empty: none."""
    found = [split for word in re.split(r"[_.-]", stem_of(name)) if (split := split_named(word))]
    return found[-1] if found else ""


async def listed_splits(given: ReaderInput) -> dict[str, str]:
    """Splits by stem, from lists such as ``ImageSets/Main/train.txt``; smaller lists win.

    A line is a name or a path, with or without suffix; what follows a blank is not looked at.
    """
    pictures = {stem_of(name) for name in given.pictures()}
    lists: list[tuple[str, list[str]]] = []
    for name in sorted(given.files):
        split = split_named(stem_of(name))
        if suffix_of(name) != ".txt" or not split or stem_of(name) in pictures:
            continue
        text = (await given.read(name)).decode("utf-8", errors="replace")
        stems = [stem_of(words[0]) for line in text.splitlines() if (words := line.split())]
        if any(stem in pictures for stem in stems):
            lists.append((split, stems))
    result: dict[str, str] = {}
    for split, stems in sorted(lists, key=lambda item: (-len(item[1]), item[0])):
        result.update(dict.fromkeys(stems, split))
    return result


def split_rank(split: str) -> tuple[int, str]:
    """Order of splits: train, val, test, then by name."""
    return (ORDER.index(split) if split in ORDER else len(ORDER), split)
