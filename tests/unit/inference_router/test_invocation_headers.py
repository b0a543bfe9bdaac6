from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simcloud_inference_router.targets.base import Invocation
from simcloud_inference_router.targets.invocation_headers import MAX_ATTRIBUTES, custom_attributes


def invocation(*attributes: tuple[str, str]) -> Invocation:
    return Invocation(b"", "image/png", "", attributes=attributes)


def test_attributes_are_pairs_joined_by_commas() -> None:
    assert custom_attributes(invocation(("a", "1"), ("b", "2"))) == "a=1,b=2"
    assert custom_attributes(invocation()) == ""


def test_what_does_not_fit_is_left_out_whole() -> None:
    long = ("long", "x" * MAX_ATTRIBUTES)
    assert custom_attributes(invocation(("a", "1"), long, ("b", "2"))) == "a=1,b=2"
    assert custom_attributes(invocation(("a", "\u00e9"), ("b", "line\nbreak"))) == ""


@given(st.lists(st.tuples(st.text(max_size=300), st.text(max_size=300)), max_size=10))
def test_the_header_is_always_one_that_the_runtime_takes(pairs: list[tuple[str, str]]) -> None:
    header = custom_attributes(invocation(*pairs))
    assert len(header) <= MAX_ATTRIBUTES
    assert header.isascii()
    assert header == "" or header.isprintable()
