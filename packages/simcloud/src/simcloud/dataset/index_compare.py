"""Whether an index says what its tar says, also when an older release wrote it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from simcloud.dataset.index import read_rows


def rows_agree(rebuilt: bytes, stored: bytes) -> bool:
    """Whether a stored index has the rows of the one that is made from its tar now.

    Columns and fields that the stored one doesn't have are not compared: the release that wrote it
    did not know them.

    Args:
        rebuilt: the index as this release makes it.
        stored: the index in S3.

    Raises:
        Corruption: one of them is not Parquet.
    """
    if rebuilt == stored:
        return True
    expected, found = read_rows(rebuilt), read_rows(stored)
    if set(found.column_names) - set(expected.column_names):
        return False
    columns = [_as_known(expected.column(field.name), field.type) for field in found.schema]
    if any(column is None for column in columns):
        return False
    return bool(pa.table(columns, names=found.column_names).equals(found))


def _as_known(column: pa.ChunkedArray[Any], kind: pa.DataType) -> pa.Array[Any] | None:
    """A column with the fields that a type knows; None when it can't have them."""
    if column.type == kind:
        return column.combine_chunks()
    try:
        return pa.array([_pruned(value, kind) for value in column.to_pylist()], type=kind)
    except (pa.ArrowException, KeyError, TypeError):
        return None


def _pruned(value: object, kind: pa.DataType) -> object:
    if isinstance(value, list) and pa.types.is_list(kind):
        return [_pruned(item, kind.value_type) for item in value]
    if isinstance(value, dict) and pa.types.is_struct(kind):
        names = [kind.field(index).name for index in range(kind.num_fields)]
        return {name: _pruned(value[name], kind.field(name).type) for name in names}
    return value
