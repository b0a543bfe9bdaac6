"""Where an asynchronous request and its answer are, what the answer is, when to look; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from simcloud_inference_router.codecs.triton_binary import MEDIA_TYPE as TRITON
from simcloud_inference_router.targets.errors import wire_text

_S3_URI = re.compile(r"s3://([^/]+)/(.+)")
_UNKNOWN_TYPES = frozenset({"", "binary/octet-stream", "application/octet-stream"})
"""Content types of objects whose writer said none."""


@dataclass(frozen=True, slots=True)
class S3Location:
    """An object."""

    bucket: str
    key: str


def pauses(first_s: float, most_s: float, random: Random) -> Iterator[float]:
    """Waits between looks, seconds: each half as long again, a fifth up or down by chance."""
    pause_s = first_s
    while True:
        yield pause_s * random.uniform(0.8, 1.2)
        pause_s = min(most_s, pause_s * 1.5)


def below(prefix: str, name: str) -> S3Location:
    """An object of that name below a prefix, ``bucket`` or ``bucket/folder``."""
    bucket, _, folder = prefix.partition("/")
    return S3Location(bucket, f"{folder.rstrip('/')}/{name}".lstrip("/"))


def location_below(uri: str, prefix: str) -> S3Location | None:
    """The object of an S3 URI, when it is below the prefix."""
    match = _S3_URI.fullmatch(uri)
    if match is None:
        return None
    bucket, _, folder = prefix.partition("/")
    folder = folder.rstrip("/")
    if match[1] != bucket or (folder and not match[2].startswith(f"{folder}/")):
        return None
    return S3Location(match[1], match[2])


def answer_type(stored: str, accept: str, body: bytes) -> str:
    """What an answer is: as its object says, else as was asked for.

    Args:
        stored: the object's content type.
        accept: media type that was asked for.
        body: the object's bytes.
    """
    if stored not in _UNKNOWN_TYPES:
        return wire_text(stored)
    if accept != TRITON:
        return accept
    # The size of Triton's header is in the content type alone; it is a JSON object at the start.
    try:
        _, size = json.JSONDecoder().raw_decode(body.decode("latin-1"))
    except (ValueError, RecursionError):
        return accept
    return f"{TRITON};json-header-size={size}"
