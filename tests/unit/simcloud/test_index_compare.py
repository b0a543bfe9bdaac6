"""Indexes and records of an older release stay readable, and agree with their tars."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simcloud.dataset.index import TarObject, read_rows
from simcloud.dataset.index_build import build_index
from simcloud.dataset.index_compare import rows_agree
from simcloud.dataset.index_schema import DISTRACTOR, OBJECT
from simcloud.dataset.record import (
    DistractorRecord,
    ObjectRecord,
    record_from_json,
    record_head,
)
from simcloud.dataset.selection import Filter, matching_rows
from simcloud.dataset.tar import StoredFrame
from simcloud.errors import Corruption
from simcloud.spec.plan import ShardFrames
from support.dataset_frames import pack, shard_frames

SHARD = ShardFrames(shard=2, first=4, end=6)
TAR = TarObject(path="shards/000002.tar", size_bytes=1, crc64nvme=2**64 - 1, etag='"e-1"')
SAMPLED = {
    "group": "seats",
    "scale": 1.5,
    "tint_rgb": (1.0, 0.5, 0.25),
    "density_kg_m3": 310.5,
    "friction": 0.0,
    "velocity_m_s": (0.0, 1.25, 0.0),
    "angular_deg_s": (0.0, 0.0, 0.0),
}
LATER = ("prim", *SAMPLED, "ignored")
"""Fields of an object that came after the first release."""

DISTRACTOR_00 = DistractorRecord(
    name="clutter_00",
    asset="ball",
    local2world=tuple(float(i % 5 == 0) for i in range(16)),
    prim="/World/Objects/clutter_00",
    scale=1.5,
    group="clutter",
    density_kg_m3=310.5,
    friction=0.0,
)
DISTRACTOR_01 = replace(
    DISTRACTOR_00, name="clutter_01", scale=0.5, group=None, tint_rgb=(1.0, 0.5, 0.25)
)


def index() -> bytes:
    return build_index("run", SHARD, TAR, pack(shard_frames(SHARD))[1])


def with_distractors() -> list[StoredFrame]:
    """A shard whose first row alone has some."""
    stored = pack(shard_frames(SHARD))[1]
    record = record_from_json(stored[0].record)
    changed = replace(record, distractors=(DISTRACTOR_00, DISTRACTOR_01))
    return [replace(stored[0], record=changed.to_json()), *stored[1:]]


def written(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def with_objects(rows: list[list[dict[str, object]]]) -> bytes:
    """The index with other objects, of the fields that they have."""
    table = read_rows(index())
    names = list(rows[0][0])
    known = {item.name: item for item in map(OBJECT.field, range(OBJECT.num_fields))}
    kind = pa.list_(pa.struct([known[name] for name in names]))
    position = table.column_names.index("objects")
    return written(table.set_column(position, "objects", pa.array(rows, type=kind)))


def objects(dropping: tuple[str, ...] = ()) -> list[list[dict[str, object]]]:
    rows: list[Any] = read_rows(index()).column("objects").to_pylist()
    return [
        [{name: value for name, value in item.items() if name not in dropping} for item in row]
        for row in rows
    ]


def test_every_field_of_an_object_has_its_column() -> None:
    names = [OBJECT.field(position).name for position in range(OBJECT.num_fields)]
    assert names == [item.name for item in fields(ObjectRecord)]
    names = [DISTRACTOR.field(position).name for position in range(DISTRACTOR.num_fields)]
    assert names == [item.name for item in fields(DistractorRecord)]


def test_an_index_without_the_later_fields_agrees_with_its_tar() -> None:
    assert rows_agree(index(), with_objects(objects(LATER)))


def test_an_index_with_another_value_does_not_agree() -> None:
    rows = objects(LATER)
    rows[0][0]["label"] = "sofa"
    assert not rows_agree(index(), with_objects(rows))


def test_an_index_with_a_column_that_nobody_knows_does_not_agree() -> None:
    table = read_rows(index())
    assert not rows_agree(index(), written(table.append_column("x", pa.nulls(len(table)))))


def test_an_index_that_lost_a_row_does_not_agree() -> None:
    assert not rows_agree(index(), written(read_rows(index()).slice(1)))


def test_a_record_without_the_later_fields_reads_them_as_unknown() -> None:
    raw = json.loads(pack(shard_frames(SHARD))[1][0].record)
    for item in raw["objects"]:
        for name in LATER:
            item.pop(name, None)
    record = record_from_json(json.dumps(raw).encode())
    assert record.objects
    assert all(getattr(item, name) is None for item in record.objects for name in SAMPLED)


def test_what_was_sampled_for_an_object_reads_back() -> None:
    raw = json.loads(pack(shard_frames(SHARD))[1][0].record)
    for item in raw["objects"]:
        item.update(SAMPLED)
    record = record_from_json(json.dumps(raw).encode())
    assert {name: getattr(record.objects[0], name) for name in SAMPLED} == SAMPLED
    assert record_from_json(record.to_json()) == record


def test_distractors_are_in_record_and_index_and_frames_are_found_by_them() -> None:
    stored = with_distractors()
    record = record_from_json(stored[0].record)
    assert record.distractors == (DISTRACTOR_00, DISTRACTOR_01)
    assert len(record.objects) == 1
    table = read_rows(build_index("run", SHARD, TAR, stored))
    rows: list[Any] = table.column("distractors").to_pylist()
    assert [len(row) for row in rows] == [2, 0, 0, 0]
    assert rows[0][1]["tint_rgb"] == [1.0, 0.5, 0.25]
    assert rows[0][0]["tint_rgb"] is rows[0][1]["group"] is None
    assert table.column("objects").equals(read_rows(index()).column("objects"))
    larger = Filter(where="len(list_filter(distractors, lambda d: d.scale > 1)) > 0")
    assert matching_rows(table, larger) == [0]


def test_a_record_without_distractors_does_not_speak_of_them() -> None:
    written_of, *others = with_distractors()
    plain = json.loads(written_of.record)
    assert "tint_rgb" not in plain["distractors"][0]
    assert plain["distractors"][0]["friction"] == 0
    for frame in others:
        assert "distractors" not in json.loads(frame.record)
        assert record_from_json(frame.record).distractors == ()


def test_an_index_from_before_distractors_agrees_with_its_tar() -> None:
    table = read_rows(build_index("run", SHARD, TAR, with_distractors()))
    assert rows_agree(
        build_index("run", SHARD, TAR, with_distractors()), written(table.drop(["distractors"]))
    )
    assert not rows_agree(index(), written(table))


@pytest.mark.parametrize("change", [{"label": "chair"}, {"scale": None, "asset": None}])
def test_a_distractor_that_is_none_is_refused(change: dict[str, object]) -> None:
    raw = json.loads(with_distractors()[0].record)
    item = raw["distractors"][0] | change
    raw["distractors"] = [{name: value for name, value in item.items() if value is not None}]
    data = json.dumps(raw).encode()
    with pytest.raises(Corruption, match="DistractorRecord"):
        record_head(data)
    with pytest.raises(Corruption, match="DistractorRecord"):
        record_from_json(data)
