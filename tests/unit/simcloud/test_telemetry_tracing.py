from __future__ import annotations

import contextvars

import pytest

from simcloud.telemetry import tracing
from simcloud.telemetry.tracing import TraceContext, from_metadata

_TRACE = "0af7651916cd43dd8448eb211c80319c"
_SPAN = "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{_TRACE}-{_SPAN}-01", True),
        (f"00-{_TRACE}-{_SPAN}-00", False),
        (f"00-{_TRACE}-{_SPAN}-ff", True),
        (f"cc-{_TRACE}-{_SPAN}-01-what-the-future-brings", True),
    ],
)
def test_a_valid_header_is_read(header: str, sampled: bool) -> None:
    context = from_metadata([("other", "x"), ("traceparent", header)])
    assert context == TraceContext(_TRACE, _SPAN, sampled)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "x",
        f"ff-{_TRACE}-{_SPAN}-01",
        f"00-{'0' * 32}-{_SPAN}-01",
        f"00-{_TRACE}-{'0' * 16}-01",
        f"00-{_TRACE.upper()}-{_SPAN}-01",
        f"00-{_TRACE}-{_SPAN}",
        f"00-{_TRACE[:-1]}-{_SPAN}-01",
    ],
)
def test_an_invalid_header_is_as_none(header: str) -> None:
    assert from_metadata([("traceparent", header)]) is None


def test_state_is_passed_on_up_to_its_limit() -> None:
    header = ("traceparent", f"00-{_TRACE}-{_SPAN}-01")
    kept = from_metadata([header, ("tracestate", "a=1")])
    dropped = from_metadata([header, ("tracestate", "a" * 513)])
    assert kept is not None
    assert dropped is not None
    assert (kept.state, dropped.state) == ("a=1", "")


def test_outside_of_a_trace_there_is_nothing_to_pass_on() -> None:
    assert contextvars.Context().run(tracing.outgoing_metadata) == ()
    assert contextvars.Context().run(tracing.current_trace_id) == ""


def test_a_trace_that_begins_here_is_passed_on() -> None:
    def inside() -> None:
        context = tracing.begin_trace()
        assert tracing.outgoing_metadata() == (("traceparent", context.traceparent),)
        assert from_metadata(tracing.outgoing_metadata()) == context
        assert not context.sampled
        with tracing.span("nothing is exported", {"x": 1}):
            assert tracing.current() == context

    contextvars.Context().run(inside)


def test_a_callers_trace_is_continued_with_its_state() -> None:
    caller = TraceContext(_TRACE, _SPAN, True, "a=1")

    def inside() -> None:
        assert tracing.begin_trace(caller) == caller
        assert tracing.outgoing_metadata() == (
            ("traceparent", f"00-{_TRACE}-{_SPAN}-01"),
            ("tracestate", "a=1"),
        )

    contextvars.Context().run(inside)


async def test_shutting_down_without_an_exporter_does_nothing() -> None:
    await tracing.shutdown()
