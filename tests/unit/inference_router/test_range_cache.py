from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simcloud_inference_router.refs.cache import ENTRY_BYTES, ObjectName, Range, RangeCache

NAME = ObjectName("renders", "a.tar", '"1"')

steps = st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(1, 300)), max_size=40)


@given(steps, st.integers(0, 4 * ENTRY_BYTES))
def test_it_keeps_what_was_wanted_last_as_far_as_it_fits(
    found: list[tuple[bool, int, int]], limit: int
) -> None:
    cache = RangeCache(limit)
    # Least recently wanted first.
    kept: list[Range] = []
    for put, place, length in found:
        wanted = Range(1000 * place, 1000 * place + length)
        size = length + ENTRY_BYTES
        if put and size <= limit and wanted not in kept:
            kept.append(wanted)
            while sum(each.end - each.begin + ENTRY_BYTES for each in kept) > limit:
                kept.pop(0)
        if put:
            cache.put(NAME, wanted, bytes([place]) * length)
        else:
            data = cache.get(NAME, wanted)
            assert data == (bytes([place]) * length if wanted in kept else None)
            if wanted in kept:
                kept.append(kept.pop(kept.index(wanted)))
        assert cache.size == sum(each.end - each.begin + ENTRY_BYTES for each in kept) <= limit
        assert len(cache) == len(kept)


def test_other_contents_and_objects_without_an_etag_are_not_found() -> None:
    cache, wanted = RangeCache(10_000), Range(0, 3)
    cache.put(NAME, wanted, b"abc")
    cache.put(ObjectName("renders", "b.tar", ""), wanted, b"def")
    assert cache.get(NAME, wanted) == b"abc"
    for other in (
        ObjectName("renders", "a.tar", '"2"'),
        ObjectName("renders", "b.tar", ""),
        ObjectName("other", "a.tar", '"1"'),
    ):
        assert cache.get(other, wanted) is None
    assert cache.get(NAME, Range(0, 2)) is None
