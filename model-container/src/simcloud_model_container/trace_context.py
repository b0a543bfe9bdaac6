"""The trace that an invocation belongs to, as its caller says it; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from simcloud_model_container.models.parameters import read_custom_attributes
from simcloud_model_container.sagemaker import CUSTOM_ATTRIBUTES_HEADER

TRACEPARENT = "traceparent"

# W3C Trace Context, section 3.2: version-traceid-parentid-flags in lower-case hex; ids of zeros and
# version ff are invalid.
_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?"
)


@dataclass(frozen=True, slots=True)
class TraceParent:
    """Whose child an invocation is."""

    trace_id: str
    """32 hex digits."""
    span_id: str
    """Of the caller's span, 16 hex digits."""


def read_traceparent(value: str) -> TraceParent | None:
    """A `traceparent`; None when it is not valid, which is to be ignored (section 3.2.2.5)."""
    match = _TRACEPARENT.fullmatch(value)
    # Only a later version may go on behind the flags.
    if match is None or (match[1] == "00" and match[4] is not None):
        return None
    return TraceParent(match[2], match[3])


def trace_of(headers: Mapping[str, str]) -> TraceParent | None:
    """The trace of a request, by its custom attributes or else by the header that HTTP has for it.

    SageMaker lets no header of the caller's own through to a container but the attributes.

    Args:
        headers: of the request; names in any case, so a mapping that doesn't tell them apart.

    Returns:
        None when it has none, or none that is valid.
    """
    attributes = read_custom_attributes(
        headers.get(CUSTOM_ATTRIBUTES_HEADER, ""), frozenset({TRACEPARENT})
    )
    found = attributes.get(TRACEPARENT)
    return read_traceparent(str(found) if found is not None else headers.get(TRACEPARENT, ""))
