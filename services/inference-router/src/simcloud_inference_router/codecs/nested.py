"""Nested JSON lists: their shape and their elements, with every level checked; pure."""

from __future__ import annotations

from simcloud_inference_router.codecs.base import MalformedAnswer


def unnested(data: list[object], where: str) -> tuple[tuple[int, ...], list[object]]:
    """Shape and elements, row-major, of a list of lists.

    Raises:
        MalformedAnswer: the lists of one level are not of one length, or stand beside elements.
    """
    shape = [len(data)]
    level = data
    while level and isinstance(level[0], list):
        size = len(level[0])
        below: list[object] = []
        for item in level:
            if not isinstance(item, list) or len(item) != size:
                found = f"a list of {len(item)}" if isinstance(item, list) else repr(item)[:32]
                raise MalformedAnswer(
                    f"{where}: expected a list of {size} at depth {len(shape)}, found {found}"
                )
            below += item
        shape.append(size)
        level = below
    for item in level:
        if isinstance(item, list):
            raise MalformedAnswer(f"{where}: a list stands beside elements at depth {len(shape)}")
    return tuple(shape), level
