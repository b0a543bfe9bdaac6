"""Which shards a task makes: frames, cut into shards, handed out to tasks."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from simcloud.errors import InvalidRequest

TASK_INDEX_VARIABLES = (
    "JOB_COMPLETION_INDEX",  # Kubernetes Indexed Job
    "SLURM_ARRAY_TASK_ID",  # sbatch --array
    "AWS_BATCH_JOB_ARRAY_INDEX",  # AWS Batch array job
)
"""Where the schedulers say which task this is, from 0; looked at in this order."""

_SELECTION = re.compile(r"(?P<first>\d{1,9})(-(?P<last>\d{1,9}))?")


def select_shards(
    text: str,
    *,
    shard_count: int,
    shards_per_task: int = 1,
    environ: Mapping[str, str] = os.environ,
) -> tuple[int, ...]:
    """The shards of a selection, ascending.

    Args:
        text: empty for all; ``3``; ``0-15`` (both ends included); several of them joined by
            commas; or ``auto``: as many as ``shards_per_task``, by the task's index from the
            scheduler's environment. A task beyond the last shard has none. ``auto:3,8-15`` hands
            out those alone.
        shard_count: shards of the plan.
        shards_per_task: shards of one task, for ``auto``; 1 or more.
        environ: the environment.

    Raises:
        InvalidRequest: not a selection, a shard that the plan has not, or ``auto`` without a
            scheduler.
    """
    if text == "auto" or text.startswith("auto:"):
        listed = text.removeprefix("auto").removeprefix(":")
        shards = select_shards(listed, shard_count=shard_count)
        return _of_task(task_index(environ), shards, shards_per_task)
    if not text:
        return tuple(range(shard_count))
    chosen: set[int] = set()
    for piece in text.split(","):
        chosen.update(_range(piece.strip(), shard_count))
    return tuple(sorted(chosen))


def task_index(environ: Mapping[str, str]) -> int:
    """Index of this task, from 0, as its scheduler says.

    Raises:
        InvalidRequest: no scheduler says one, or it is not a number.
    """
    for name in TASK_INDEX_VARIABLES:
        value = environ.get(name)
        if value is None:
            continue
        if not value.isdecimal():
            raise InvalidRequest("shards", f"{name} is {value!r}, not a number from 0")
        return int(value)
    raise InvalidRequest(
        "shards",
        f"auto needs one of {', '.join(TASK_INDEX_VARIABLES)}: name the shards, or run it as an "
        "array job",
    )


def task_count(shard_count: int, shards_per_task: int) -> int:
    """Tasks that an array job needs."""
    return -(-shard_count // shards_per_task)


def selection_of(shards: Sequence[int]) -> str:
    """The selection of some shards, as ``select_shards`` reads it: ``0-3,7``.

    Args:
        shards: ascending, at least one.
    """
    pieces: list[list[int]] = []
    for shard in shards:
        if pieces and shard == pieces[-1][1] + 1:
            pieces[-1][1] = shard
        else:
            pieces.append([shard, shard])
    return ",".join(f"{a}-{b}" if b > a else str(a) for a, b in pieces)


def _of_task(index: int, shards: Sequence[int], shards_per_task: int) -> tuple[int, ...]:
    if shards_per_task < 1:
        raise InvalidRequest("shards_per_task", f"{shards_per_task} is not 1 or more")
    first = index * shards_per_task
    return tuple(shards[first : first + shards_per_task])


def _range(piece: str, shard_count: int) -> range:
    match = _SELECTION.fullmatch(piece)
    if match is None:
        raise InvalidRequest("shards", f"{piece!r} is not a shard (3), a range (0-15) or auto")
    first = int(match["first"])
    last = int(match["last"] or first)
    if last < first:
        raise InvalidRequest("shards", f"{piece!r} ends before it begins")
    if last >= shard_count:
        raise InvalidRequest(
            "shards", f"the plan has shards 0 to {shard_count - 1}; {piece!r} goes beyond"
        )
    return range(first, last + 1)
