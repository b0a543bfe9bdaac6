"""Which frames are read, in which order, by which ranges."""

from __future__ import annotations

from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simcloud.dataset.fetch import Fetched, Pieces, spans
from simcloud.dataset.selection import Filter, Key, Shuffle, matching_rows, ordered
from simcloud.errors import InvalidRequest

TABLE = pa.table(
    {
        "quarantine_rule": [None, None, "tight_box", None],
        "split": ["train", "val", "train", "train"],
        "camera": ["left", "right", "left", "right"],
        "params.dome.intensity": [0.5, 1.5, 2.0, 1.0],
        "objects": [[{"label": "chair"}], [], [], [{"label": "bed"}, {"label": "chair"}]],
    }
)

keys_of = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40)), unique=True, max_size=80).map(
    sorted
)


@pytest.mark.parametrize(
    ("filter_", "rows"),
    [
        (Filter(), [0, 1, 3]),
        (Filter(split="train"), [0, 3]),
        (Filter(split="train", camera="right"), [3]),
        (Filter(where='"params.dome.intensity" >= 1'), [1, 3]),
        (Filter(split="train", where='"params.dome.intensity" >= 1'), [3]),
        (Filter(where="len(objects) = 2"), [3]),
        (
            Filter(where="list_contains(list_transform(objects, lambda o: o.label), 'chair')"),
            [0, 3],
        ),
        (Filter(where="camera = 'left' OR 1 = 1"), [0, 1, 3]),
    ],
)
def test_a_filter_lets_the_rows_through_that_it_says_and_never_a_quarantined_one(
    filter_: Filter, rows: list[int]
) -> None:
    assert matching_rows(TABLE, filter_) == rows


@pytest.mark.parametrize(
    "where", ["nonsense >", "no_such_column = 1", "1 = 1); DROP TABLE frames; --"]
)
def test_a_condition_that_can_not_be_understood_is_refused_with_its_text(where: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        matching_rows(TABLE, Filter(where=where))
    assert caught.value.field == "where"


def test_no_condition_brings_a_quarantined_frame_back() -> None:
    assert matching_rows(TABLE, Filter(split="train", where="false) OR (true")) == [0, 3]


def test_a_condition_reads_no_file() -> None:
    with pytest.raises(InvalidRequest):
        matching_rows(TABLE, Filter(where="(SELECT count(*) FROM read_text('/etc/hostname')) > 0"))


@given(keys_of, st.sampled_from(["", "shards", "frames"]), st.integers(0, 3), st.integers(1, 9))
def test_an_epoch_has_every_key_once_and_no_block_of_two_shards(
    keys: list[Key], shuffle: Shuffle, epoch: int, block: int
) -> None:
    blocks = ordered(keys, shuffle=shuffle, seed=1, epoch=epoch, block=block)
    assert sorted(key for one in blocks for key in one) == keys
    assert all(len({shard for shard, _ in one}) == 1 <= len(one) <= block for one in blocks)
    assert blocks == ordered(keys, shuffle=shuffle, seed=1, epoch=epoch, block=block)
    if not shuffle:
        assert [key for one in blocks for key in one] == keys


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    keys = [(shard, row) for shard in range(4) for row in range(16)]
    orders = {
        tuple(ordered(keys, shuffle="frames", seed=seed, epoch=epoch, block=8))
        for seed in range(2)
        for epoch in range(3)
    }
    assert len(orders) == 6


@given(
    st.lists(st.tuples(st.integers(0, 900), st.integers(1, 60)), min_size=1, max_size=30),
    st.integers(0, 50),
)
def test_ranges_hold_every_piece_and_read_over_no_larger_gap(
    raw: list[tuple[int, int]], gap: int
) -> None:
    whole = bytes(number % 251 for number in range(1000))
    pieces = [(begin, begin + length) for begin, length in raw]
    found = spans(pieces, gap)
    assert all(later.begin - earlier.end > gap for earlier, later in pairwise(found))
    cut = Pieces([Fetched(one.begin, memoryview(whole)[one.begin : one.end]) for one in found])
    for begin, length in raw:
        assert cut.cut(begin, length) == whole[begin : begin + length]
    # Not one byte more than the pieces and the gaps between them.
    covered = {byte for begin, end in pieces for byte in range(begin, end)}
    for one in found:
        assert one.begin in covered
        assert one.end - 1 in covered
