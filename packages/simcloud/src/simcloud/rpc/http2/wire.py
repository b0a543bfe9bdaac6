"""gRPC on HTTP/2 (gRPC's PROTOCOL-HTTP2.md): a request's headers, an answer's, metadata, status."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

import grpc

from simcloud.rpc.http2.hpack import Field, write_fields

Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]

PREFIX_BYTES: Final = 5
"""Before each message: whether it is compressed, and its length in four bytes."""

_TIMEOUT: Final = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNIT_S: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_DIGITS: Final = re.compile(r"[0-9]{1,18}")
_METADATA_KEY: Final = re.compile(r"[0-9a-z_.-]+")
# Spaces and visible ASCII but for "%", which begins an escape.
_ESCAPED: Final = re.compile(rb"[^ -$&-~]")
# RFC 9113, section 8.2.1: what no name and no value may hold.
_BAD_NAME: Final = re.compile(r"[^\x21-\x39\x3b-\x40\x5b-\x7e]")
_BAD_VALUE: Final = re.compile(r"[\x00\r\n]|^[ \t]|[ \t]$")
# Parts of a URI (RFC 3986): what routers and logs behind us would stumble over.
_BAD_PSEUDO: Final = re.compile(r"[\x00-\x20\x7f]")
# Section 8.2.2: of HTTP/1's connections.
_FORBIDDEN: Final = frozenset(
    {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}
)
_PSEUDO: Final = frozenset({":method", ":scheme", ":path", ":authority"})
# Ours to read, not the servicer's.
_RESERVED: Final = frozenset(
    {"te", "content-type", "content-length", "grpc-timeout", "grpc-encoding"}
    | {"grpc-accept-encoding", "grpc-message-type", "accept-encoding", "host"}
)

ENCODINGS: Final = frozenset({"identity", "deflate", "gzip"})
_RESPONSE: Final = (
    (":status", b"200"),
    ("content-type", b"application/grpc"),
)
_ACCEPTS: Final = ("grpc-accept-encoding", b"identity, deflate, gzip")
RESPONSE_BLOCK: Final = write_fields((*_RESPONSE, _ACCEPTS))
"""Headers of an answer without metadata of its own."""
OK_BLOCK: Final = write_fields([("grpc-status", b"0")])
"""Trailers of a call that succeeded and has nothing to add."""


class Malformed(ValueError):
    """Headers that are no request (RFC 9113, section 8.1.1)."""


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What a call's headers say. Shared by all calls whose headers are the same bytes."""

    path: str
    """``/package.Service/Method``."""
    timeout_s: float | None
    """Time that the caller gives, from when the headers came."""
    encoding: str
    """How its compressed messages are."""
    content_length: int | None
    """Bytes of all its DATA, if it says so."""
    metadata: Metadata
    """What the servicer sees; values of keys in ``-bin`` are bytes."""
    refusal: bytes | None
    """Header block of the answer to what can't be a call of ours."""


def read_head(fields: Sequence[Field]) -> RequestHead:
    """Reads a request's fields.

    Raises:
        Malformed: they are no request's of HTTP/2.
    """
    pseudo: dict[str, str] = {}
    regular: dict[str, str] = {}
    metadata: list[tuple[str, str | bytes]] = []
    for name, value in fields:
        if name[:1] == ":":
            _take_pseudo(pseudo, name, value, late=bool(regular or metadata))
            continue
        _check(name, value)
        if name in _RESERVED:
            regular[name] = value
        else:
            metadata.append((name, _binary(value) if name.endswith("-bin") else value))
    if not {":method", ":scheme", ":path"} <= pseudo.keys() or not pseudo[":path"]:
        raise Malformed("a request needs :method, :scheme and :path")
    if regular.get("te", "trailers") != "trailers":
        raise Malformed("te may only be trailers")
    timeout_s, refusal = None, _refusal(pseudo[":method"], regular)
    if refusal is None and "grpc-timeout" in regular:
        timeout_s = read_timeout_s(regular["grpc-timeout"])
        if timeout_s is None:
            refusal = status_block(
                grpc.StatusCode.INTERNAL.value[0],
                f"grpc-timeout {regular['grpc-timeout'][:32]!r} is none",
            )
    return RequestHead(
        path=pseudo[":path"],
        timeout_s=timeout_s,
        encoding=regular.get("grpc-encoding", "identity"),
        content_length=_content_length(regular.get("content-length")),
        metadata=tuple(metadata),
        refusal=refusal,
    )


def check_trailers(fields: Sequence[Field]) -> None:
    """Checks a request's trailers, which gRPC has none of.

    Raises:
        Malformed: they are none of HTTP/2.
    """
    for name, value in fields:
        if name[:1] == ":":
            raise Malformed("trailers have no pseudo-headers")
        _check(name, value)


def _take_pseudo(pseudo: dict[str, str], name: str, value: str, *, late: bool) -> None:
    # RFC 9113, section 8.3: known, once, before all others.
    if name not in _PSEUDO or name in pseudo or late:
        raise Malformed(f"{name[:32]!r} is unknown, there twice or too late")
    if _BAD_PSEUDO.search(value):
        raise Malformed(f"{name} holds what no part of a URI may")
    pseudo[name] = value


def _check(name: str, value: str) -> None:
    if not name or _BAD_NAME.search(name) or _BAD_VALUE.search(value) or name in _FORBIDDEN:
        raise Malformed(f"{name[:32]!r} is no header of HTTP/2")


def _binary(value: str) -> bytes:
    # Padded or not; of a list, what the first says.
    first = value.partition(",")[0]
    try:
        return base64.b64decode(first + "=" * (-len(first) % 4), validate=True)
    except ValueError as error:  # binascii.Error is one; so is what isn't ASCII.
        raise Malformed("binary metadata is no base64") from error


def _content_length(value: str | None) -> int | None:
    if value is None:
        return None
    if not _DIGITS.fullmatch(value):
        raise Malformed("content-length is no number")
    return int(value)


def _refusal(method: str, regular: dict[str, str]) -> bytes | None:
    if method != "POST":
        return write_fields([(":status", b"405"), ("allow", b"POST")])
    kind = regular.get("content-type", "")
    if not (
        kind == "application/grpc" or kind.startswith(("application/grpc+", "application/grpc;"))
    ):
        # "so that browsers and others don't take it for success": Responses, HTTP status 415.
        return write_fields([(":status", b"415")])
    encoding = regular.get("grpc-encoding", "identity")
    if encoding not in ENCODINGS:
        return status_block(
            grpc.StatusCode.UNIMPLEMENTED.value[0], f"grpc-encoding {encoding[:32]!r} is not known"
        )
    return None


def read_timeout_s(value: str) -> float | None:
    """Seconds of a ``grpc-timeout``; None for what is none."""
    match = _TIMEOUT.fullmatch(value)
    return None if match is None else int(match[1]) * _UNIT_S[match[2]]


def percent_encoded(text: str) -> bytes:
    """A ``grpc-message``: UTF-8 with all but visible ASCII and spaces escaped."""
    data = text.encode(errors="replace")
    return _ESCAPED.sub(lambda match: b"%%%02X" % match[0][0], data)


def metadata_fields(
    metadata: Iterable[tuple[str, str | bytes]], *, true_binary: bool = False
) -> list[tuple[str, bytes]]:
    """Metadata as header fields.

    Args:
        metadata: keys and values.
        true_binary: whether the peer has said that it takes binary values without base64 (gRPC's
            proposal G1); they begin with a zero then. Its limit counts what they are on the wire.

    Raises:
        ValueError: a key or a value can't travel.
    """
    fields = []
    for key, value in metadata:
        if not _METADATA_KEY.fullmatch(key) or (key.startswith("grpc-") and key not in _OURS):
            raise ValueError(f"metadata can't be called {key!r}")
        if key.endswith("-bin"):
            data = value.encode() if isinstance(value, str) else value
            plain = true_binary and data
            fields.append((key, b"\0" + data if plain else base64.b64encode(data).rstrip(b"=")))
            continue
        data = value.encode("ascii") if isinstance(value, str) else value
        if _BAD_ASCII.search(data):
            raise ValueError(f"the value of {key} is not visible ASCII; a key in -bin takes bytes")
        fields.append((key, data))
    return fields


# Reserved by gRPC, and defined by it for statuses with details and for what its retries heed.
_OURS: Final = frozenset({"grpc-status-details-bin", "grpc-retry-pushback-ms"})
_BAD_ASCII: Final = re.compile(rb"[^ -~]")


def response_block(
    metadata: Iterable[tuple[str, str | bytes]], *, true_binary: bool = False
) -> bytes:
    """Headers of an answer with metadata; arguments as for ``metadata_fields``."""
    return RESPONSE_BLOCK + write_fields(metadata_fields(metadata, true_binary=true_binary))


def trailers_block(
    code: int,
    details: str,
    metadata: Iterable[tuple[str, str | bytes]] = (),
    *,
    true_binary: bool = False,
) -> bytes:
    """Trailers of a call; metadata as for ``metadata_fields``."""
    fields = [("grpc-status", b"%d" % code)]
    if details:
        fields.append(("grpc-message", percent_encoded(details)))
    return write_fields(fields + metadata_fields(metadata, true_binary=true_binary))


def status_block(
    code: int,
    details: str,
    metadata: Iterable[tuple[str, str | bytes]] = (),
    *,
    true_binary: bool = False,
) -> bytes:
    """Headers and trailers in one, of a call that ends before its first message (Trailers-Only)."""
    kept = tuple(metadata)
    try:
        hash(kept)
    except TypeError:  # A servicer's own, such as a bytearray.
        return _make_status_block(code, details, kept, true_binary)
    return _status_block(code, details, kept, true_binary)


def _make_status_block(
    code: int, details: str, metadata: tuple[tuple[str, str | bytes], ...], true_binary: bool
) -> bytes:
    trailers = trailers_block(code, details, metadata, true_binary=true_binary)
    return write_fields(_RESPONSE) + trailers


# Under overload most callers are told the same.
_status_block = lru_cache(maxsize=64)(_make_status_block)
