"""Who put a thing into a frame: errors about what a plug-in placed name the plug-in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from simcloud.errors import InvalidRequest
from simcloud.spec.parameters import FrameParameters

_ITEM = re.compile(r"(objects|bindings|rect_lights|lights|cameras)\[([^\]]*)\]|dome")
"""How renderers say which thing of a frame is wrong: by its place or its name."""


def origin_key(kind: str, name: str) -> str:
    """Key of a thing in :attr:`FrameParameters.origins`."""
    return f"{kind}[{name}]"


@contextmanager
def origins_named(parameters: FrameParameters) -> Iterator[None]:
    """Errors about what a plug-in put into the frame say so: its entry point, and the thing.

    Args:
        parameters: of the frame that the block draws.

    Raises:
        InvalidRequest: the block's own, or one that names the plug-in too.
    """
    try:
        yield
    except InvalidRequest as error:
        found = _origin(parameters, error.field)
        if found is None:
            raise
        thing, origin = found
        raise InvalidRequest(
            error.field, f"frame {parameters.frame}: {thing} is of {origin}: {error.problem}"
        ) from error


def placed_by(parameters: FrameParameters, name: str) -> str:
    """Who placed or changed an object, in parentheses; empty where the spec did."""
    origin = parameters.origins.get(origin_key("objects", name))
    return f" (of {origin})" if origin else ""


def _origin(parameters: FrameParameters, field: str) -> tuple[str, str] | None:
    """A thing's own key and who put it there; None where the spec did."""
    found = _ITEM.match(field)
    if found is None:
        return None
    key = "dome"
    if found[1]:
        items = getattr(parameters, found[1])
        place = int(found[2]) if found[2].isdecimal() else -1
        name = found[2]
        if 0 <= place < len(items):
            name = items[place].prim if found[1] == "bindings" else items[place].name
        key = origin_key(found[1], name)
    origin = parameters.origins.get(key)
    return None if origin is None else (key, origin)
