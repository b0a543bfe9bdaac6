"""Ranges that hold many pieces and are no larger than they may be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simcloud.dataset.fetch import Span, spans

pieces_of = st.lists(
    st.tuples(st.integers(0, 400), st.integers(1, 60)).map(lambda it: (it[0], it[0] + it[1])),
    max_size=30,
)


@given(pieces_of, st.integers(0, 50), st.integers(1, 200))
def test_each_piece_lies_in_a_range_that_is_no_larger_than_it_may_be(
    pieces: list[tuple[int, int]], gap: int, most: int
) -> None:
    found = spans(pieces, gap, most_bytes=most)
    for begin, end in pieces:
        assert any(one.begin <= begin and end <= one.end for one in found)
    for one in found:
        inside = [each for each in pieces if one.begin <= each[0] and each[1] <= one.end]
        assert min(begin for begin, _ in inside) == one.begin
        assert max(end for _, end in inside) == one.end
        largest = max(end - begin for begin, end in inside)
        assert one.end - one.begin <= max(most, largest)
    assert [one.begin for one in found] == sorted(one.begin for one in found)


@given(pieces_of, st.integers(0, 50))
def test_a_bound_that_nothing_reaches_changes_nothing(
    pieces: list[tuple[int, int]], gap: int
) -> None:
    assert spans(pieces, gap, most_bytes=1000) == spans(pieces, gap)


def test_what_is_too_large_together_is_cut_between_pieces() -> None:
    assert spans([(0, 10), (10, 20), (20, 30)], 0, most_bytes=20) == [Span(0, 20), Span(20, 30)]
