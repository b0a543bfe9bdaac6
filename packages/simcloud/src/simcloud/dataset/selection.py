"""Which frames of a run are read, and in which order: both are the same for everyone who asks.

A selection holds frame keys alone, by number, so that a million of them are a few megabytes. An
order is a permutation that a seed and an epoch define: shards in random order, blocks of frames in
random order within a shard, frames in random order within a block. A block is what one read
fetches, so that a shuffled epoch costs hardly more requests than one in order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from simcloud.errors import InvalidRequest, NotReady

Shuffle = Literal["", "shards", "frames"]
"""Nothing; shards alone; shards, blocks and the frames of a block."""

Key = tuple[int, int]
"""A frame key by number: shard, and row of its index."""

_TABLE = "frames"


@dataclass(frozen=True, slots=True)
class Filter:
    """What a frame must be to be read; quarantined frames never are."""

    split: str = ""
    """Only this split; empty: all."""
    camera: str = ""
    """Only this camera; empty: all."""
    where: str = ""
    """SQL condition on the index's columns, as DuckDB has it: ``"params.dome.intensity" > 1 and
    len(objects) >= 3``; empty: all."""
    shards: tuple[int, ...] = ()
    """Only these shards, by number; of the others not even the index is read. Empty: all."""

    @property
    def digest(self) -> str:
        """Names the filter: two states of reading belong together only if theirs are equal."""
        text = "\0".join((self.split, self.camera, self.where))
        if self.shards:
            text += "\0" + ",".join(str(shard) for shard in sorted(set(self.shards)))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def matching_rows(table: pa.Table, filter_: Filter) -> list[int]:
    """Row numbers of an index that a filter lets through, ascending.

    Raises:
        InvalidRequest: the condition is none that DuckDB understands.
        NotReady: there is a condition, and DuckDB is not installed.
    """
    wanted = ["quarantine_rule IS NULL"]
    values: list[str] = []
    for column, value in (("split", filter_.split), ("camera", filter_.camera)):
        if value:
            wanted.append(f"{column} = ?")
            values.append(value)
    if not filter_.where:
        return _plain_rows(table, filter_)
    duckdb = _duckdb()
    numbered = table.append_column("__row", pa.array(range(table.num_rows), pa.int64()))
    # The condition may name nothing but the index: no files, no network, no settings.
    connection = duckdb.connect(config={"enable_external_access": False})
    try:
        connection.register(_TABLE, numbered)
        connection.execute("SET lock_configuration = true")
        # The condition sees only what may be read: none can bring a quarantined frame back.
        allowed = f"SELECT * FROM {_TABLE} WHERE {' AND '.join(wanted)}"  # noqa: S608 - our own columns
        statement = f"SELECT __row FROM ({allowed}) WHERE ({filter_.where}) ORDER BY __row"  # noqa: S608 - the user's own condition, on the user's own rows
        return [row for (row,) in connection.execute(statement, values).fetchall()]
    except duckdb.Error as error:
        raise InvalidRequest("where", f"{filter_.where!r}: {error}") from error
    finally:
        connection.close()


def _plain_rows(table: pa.Table, filter_: Filter) -> list[int]:
    columns = table.select(["quarantine_rule", "split", "camera"]).to_pydict()
    rows = zip(columns["quarantine_rule"], columns["split"], columns["camera"], strict=True)
    return [
        number
        for number, (rule, split, camera) in enumerate(rows)
        if rule is None and filter_.split in {"", split} and filter_.camera in {"", camera}
    ]


def _duckdb() -> Any:
    try:
        import duckdb
    except ModuleNotFoundError as error:
        message = "a condition on the index needs DuckDB: pip install 'simcloud[query]'"
        raise NotReady(message) from error
    return duckdb


def ordered(
    keys: Sequence[Key], *, shuffle: Shuffle, seed: int, epoch: int, block: int
) -> list[tuple[Key, ...]]:
    """The order of an epoch, in blocks that are read together.

    Args:
        keys: the selection, ascending.
        shuffle: how much is mixed.
        seed: of the order.
        epoch: another one for every pass.
        block: most frames of a block, 1 or more; all of one shard.
    """
    shards: dict[int, list[Key]] = {}
    for key in keys:
        shards.setdefault(key[0], []).append(key)
    order: list[tuple[Key, ...]] = []
    numbers = sorted(shards)
    if shuffle:
        numbers.sort(key=lambda number: _rank(seed, epoch, "shard", number))
    for number in numbers:
        rows = shards[number]
        blocks = [tuple(rows[begin : begin + block]) for begin in range(0, len(rows), block)]
        if shuffle == "frames":
            blocks.sort(key=lambda rows: _rank(seed, epoch, "block", *rows[0]))
            blocks = [
                tuple(sorted(rows, key=lambda key: _rank(seed, epoch, "frame", *key)))
                for rows in blocks
            ]
        order += blocks
    return order


def _rank(seed: int, epoch: int, *name: object) -> bytes:
    """Where an item stands in an epoch: a hash, so that no generator's state must be kept."""
    return hashlib.sha256(repr((seed, epoch, name)).encode()).digest()
