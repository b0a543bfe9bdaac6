"""Class folders: a picture's class is the folder that it is in."""

from __future__ import annotations

from simcloud.importing.splits import listed_splits, split_named, split_of_path
from simcloud.importing.types import (
    Content,
    Labels,
    ReaderInput,
    SourceFrame,
    folder_of,
    stem_of,
)

CLASS = "class"
"""Parameter with a picture's class: column ``params.class`` of the index."""


def class_of(name: str) -> str:
    """The innermost folder that is neither a split nor called ``images``; empty: none."""
    for part in reversed(folder_of(name).split("/")):
        if part and part != "images" and not split_named(part):
            return part
    return ""


async def read_classes(given: ReaderInput) -> Labels:
    """Every picture, its class as a parameter."""
    splits = await listed_splits(given)
    frames = []
    for picture in given.pictures():
        label = class_of(picture)
        if not label:
            given.problems.add(picture, "is in no class folder", picture=picture)
            continue
        frames.append(
            SourceFrame(
                picture=picture,
                split=split_of_path(picture) or splits.get(stem_of(picture), ""),
                params={CLASS: label},
            )
        )
    return Labels(
        frames=frames,
        classes=tuple(sorted({str(frame.params[CLASS]) for frame in frames})),
        boxed=False,
        content=Content(given.source, given.limits),
    )
