"""The index: its rows, its types, its bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simcloud.dataset.index import ShardRecord, TarObject, read_rows, shard_record
from simcloud.dataset.index_build import build_index
from simcloud.dataset.index_schema import COLUMNS
from simcloud.dataset.record import record_from_json
from simcloud.dataset.tar import StoredFrame
from simcloud.dataset.tarwalk import read_frames
from simcloud.errors import Corruption
from simcloud.spec.plan import ShardFrames
from support.dataset_frames import SPEC_DIGEST, make_frame, pack, shard_frames

SHARD = ShardFrames(shard=2, first=4, end=6)
TAR = TarObject(path="shards/000002.tar", size_bytes=1, crc64nvme=2**64 - 1, etag='"e-1"')


def frames() -> list[StoredFrame]:
    return pack(shard_frames(SHARD))[1]


def test_the_same_frames_are_the_same_bytes_and_read_back_from_the_tar_too() -> None:
    tar, stored, _ = pack(shard_frames(SHARD))
    straight = build_index("run", SHARD, TAR, stored)
    assert straight == build_index("run", SHARD, TAR, list(read_frames(tar)))
    assert straight == build_index("run", SHARD, TAR, stored)


def test_the_file_says_which_shard_it_is() -> None:
    assert shard_record(build_index("run", SHARD, TAR, frames())) == ShardRecord(
        run="run",
        shard=SHARD,
        tar=TAR,
        stored_frames=4,
        quarantined_frames=0,
        fingerprints=("f" * 16,),
        spec_digest=SPEC_DIGEST,
        cameras=("left", "right"),
    )


def test_the_columns_are_those_of_the_table_and_the_parameters() -> None:
    table = read_rows(build_index("run", SHARD, TAR, frames()))
    assert table.column_names == [
        *(column.name for column in COLUMNS),
        "params.camera.fov_deg",
        "params.chair.count",
        "params.night",
        "params.rug.material",
    ]
    for column in COLUMNS:
        assert table.schema.field(column.name).type == column.type, column.name


def test_a_number_is_a_double_whatever_was_drawn_first() -> None:
    for shard in (ShardFrames(0, 0, 1), ShardFrames(1, 1, 2)):
        stored = pack(shard_frames(shard))[1]
        fov = record_from_json(stored[0].record).params["camera.fov_deg"]
        table = read_rows(build_index("run", shard, TAR, stored))
        assert str(table.schema.field("params.camera.fov_deg").type) == "double"
        assert table.column("params.camera.fov_deg").to_pylist() == [fov, fov]


def test_fingerprints_stand_in_the_order_in_which_they_appeared() -> None:
    stored = pack(
        [
            make_frame(frame, camera, fingerprint=name)
            for frame, name in ((4, "b" * 16), (5, "a" * 16))
            for camera in ("left", "right")
        ]
    )[1]
    record = shard_record(build_index("run", SHARD, TAR, stored))
    assert record.fingerprints == ("b" * 16, "a" * 16)


@pytest.mark.parametrize(
    ("keep", "words"),
    [
        ([0, 1, 2], "frame 5 of camera right is not in it"),
        ([0, 1, 2, 3, 3], "stands in it twice"),
        ([2, 3, 0, 1], "out of order"),
        ([], "no frames"),
    ],
)
def test_frames_that_are_not_the_shards_are_refused(keep: list[int], words: str) -> None:
    stored = frames()
    with pytest.raises(Corruption, match=words):
        build_index("run", SHARD, TAR, [stored[position] for position in keep])


def test_a_frame_of_another_shard_is_refused() -> None:
    stored = [*frames(), pack([make_frame(6, "left")])[1][0]]
    with pytest.raises(Corruption, match="frame 6 does not belong in it"):
        build_index("run", SHARD, TAR, stored)


def test_frames_of_two_specs_are_refused() -> None:
    stored = frames()
    record = record_from_json(stored[0].record)
    stored[0] = replace(stored[0], record=replace(record, spec_digest="0" * 64).to_json())
    with pytest.raises(Corruption, match="several specs"):
        build_index("run", SHARD, TAR, stored)


def test_a_parameter_of_another_type_or_missing_is_refused() -> None:
    for params, words in (
        ({"night": 1}, "parameter night is no bool"),
        ({"extra": 1}, "parameter extra is not in every frame"),
    ):
        stored = frames()
        record = record_from_json(stored[3].record)
        changed = replace(record, params={**record.params, **params})
        stored[3] = replace(stored[3], record=changed.to_json())
        with pytest.raises(Corruption, match=words):
            build_index("run", SHARD, TAR, stored)


def test_what_is_no_index_is_refused() -> None:
    for data in (b"", b"PAR1", b"not parquet at all"):
        with pytest.raises(Corruption):
            shard_record(data)
