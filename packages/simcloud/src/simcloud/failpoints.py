"""Places where a process kills itself when a test says so, between two steps of a protocol.

``SIMCLOUD_FAILPOINTS="uploader.after_part=kill:3"`` ends the process by SIGKILL when it reaches
that point for the third time; several are joined by commas. The variable is read once, at the start
of a service. Unset, a point costs one look into an empty dictionary.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from simcloud.errors import InvalidRequest
from simcloud.telemetry.logging import get_logger

VARIABLE: Final = "SIMCLOUD_FAILPOINTS"

_ACTION = re.compile(r"kill:([1-9]\d{0,8})")
_log = get_logger(__name__)


class Failpoint(StrEnum):
    """Every point there is."""

    AFTER_CREATE = "uploader.after_create"
    """A multipart upload is begun, no epoch object names it yet."""
    AFTER_PART = "uploader.after_part"
    """S3 has another part, the epoch object doesn't list it yet."""
    AFTER_EPOCH = "uploader.after_epoch"
    """The epoch object lists more parts, the durable mark is not sent yet."""
    AFTER_COMPLETE = "uploader.after_complete"
    """The shard's tar is visible, its index is not written yet."""
    AFTER_INDEX = "uploader.after_index"
    """The shard is committed, the client doesn't know it yet."""


# The only mutable state: how often each armed point is still passed before it kills.
_left: dict[Failpoint, int] = {}


def armed(text: str) -> dict[Failpoint, int]:
    """What a value of the variable asks for: the time, from 1, at which each point kills.

    Raises:
        InvalidRequest: it is not of the form ``point=kill:n,point=kill:n``, or names no point.
    """
    wanted: dict[Failpoint, int] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, action = item.partition("=")
        count = _ACTION.fullmatch(action)
        if count is None:
            raise InvalidRequest(VARIABLE, f"{item!r} is not of the form point=kill:n, n from 1")
        try:
            wanted[Failpoint(name)] = int(count[1])
        except ValueError as error:
            raise InvalidRequest(
                VARIABLE, f"there is no point {name!r}; there are: {', '.join(Failpoint)}"
            ) from error
    return wanted


def arm(environment: Mapping[str, str] = os.environ) -> None:
    """Reads the variable; once, at the start of a process.

    Raises:
        InvalidRequest: as ``armed``.
    """
    _left.clear()
    _left.update(armed(environment.get(VARIABLE, "")))
    if _left:
        _log.warning("this process will kill itself", points={str(k): n for k, n in _left.items()})


def reached(point: Failpoint) -> None:
    """Ends the process by SIGKILL if this is the time that was asked for; else does nothing."""
    if not _left or point not in _left:
        return
    _left[point] -= 1
    if not _left[point]:
        # Nothing is flushed, closed or told: that is the point.
        os.kill(os.getpid(), signal.SIGKILL)
