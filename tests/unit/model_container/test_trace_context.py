from __future__ import annotations

import pytest

from simcloud_model_container.sagemaker import CUSTOM_ATTRIBUTES_HEADER
from simcloud_model_container.trace_context import TraceParent, read_traceparent, trace_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize("value", [VALID, f"00-{TRACE}-{SPAN}-00", f"cc-{TRACE}-{SPAN}-01-more"])
def test_a_valid_one_has_its_ids(value: str) -> None:
    assert read_traceparent(value) == TraceParent(TRACE, SPAN)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "garbage",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f" {VALID}",
        f"{VALID}\n",
    ],
)
def test_what_is_not_valid_is_ignored(value: str) -> None:
    assert read_traceparent(value) is None


def test_the_custom_attributes_have_it_among_parameters() -> None:
    attributes = f"score_threshold=0.3,traceparent={VALID}"
    assert trace_of({CUSTOM_ATTRIBUTES_HEADER: attributes}) == TraceParent(TRACE, SPAN)
    assert trace_of({CUSTOM_ATTRIBUTES_HEADER: "traceparent=bad", "traceparent": VALID}) is None
    assert trace_of({"traceparent": VALID}) == TraceParent(TRACE, SPAN)
    assert trace_of({CUSTOM_ATTRIBUTES_HEADER: "score_threshold=0.3"}) is None
