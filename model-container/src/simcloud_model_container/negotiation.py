"""Content types: what came, and what the caller takes."""

from __future__ import annotations

from simcloud_model_container.errors import NotAcceptable
from simcloud_model_container.tensor_codec import BINARY_TYPE, JSON_TYPE

_ANY = frozenset({"*/*", "application/*"})


def media_type(header: str) -> str:
    """A content type without its parameters, in lower case."""
    return header.partition(";")[0].strip().lower()


def answer_type(accept: str) -> str:
    """The type to answer with: the first of the accepted ones that there is, JSON by default.

    Args:
        accept: the Accept header; empty accepts anything.

    Raises:
        NotAcceptable: none of them is JSON or Triton's binary form.
    """
    wanted = [_entry(entry) for entry in accept.split(",") if entry.strip()]
    for name, acceptable in wanted:
        if acceptable and name in {JSON_TYPE, BINARY_TYPE}:
            return name
    if not wanted or any(acceptable and name in _ANY for name, acceptable in wanted):
        return JSON_TYPE
    message = f"answers are {JSON_TYPE} or {BINARY_TYPE}, the request accepts {accept}"
    raise NotAcceptable(message)


def _entry(entry: str) -> tuple[str, bool]:
    name, *parameters = (part.strip().lower() for part in entry.split(";"))
    # A weight of zero means "not this one" (RFC 9110, 12.4.2).
    refused = any(parameter.replace(" ", "").rstrip("0.") == "q=" for parameter in parameters)
    return name, not refused
