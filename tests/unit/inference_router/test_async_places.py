from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from simcloud_inference_router.codecs.triton_binary import MEDIA_TYPE as TRITON
from simcloud_inference_router.targets.async_places import (
    S3Location,
    answer_type,
    below,
    location_below,
    pauses,
)


@pytest.mark.parametrize(
    ("uri", "prefix", "found"),
    [
        ("s3://b-1/out/1.out", "b-1/out", S3Location("b-1", "out/1.out")),
        ("s3://b-1/out/deep/1.out", "b-1/out/", S3Location("b-1", "out/deep/1.out")),
        ("s3://b-1/any", "b-1", S3Location("b-1", "any")),
        ("s3://b-1/outside/1.out", "b-1/out", None),
        ("s3://b-1/out", "b-1/out", None),
        ("s3://b-2/out/1.out", "b-1/out", None),
        ("s3://b-1/", "b-1", None),
        ("https://b-1/out/1.out", "b-1/out", None),
        ("", "b-1", None),
    ],
)
def test_only_what_is_below_the_prefix_is_a_place_to_read(
    uri: str, prefix: str, found: S3Location | None
) -> None:
    assert location_below(uri, prefix) == found


def test_an_input_is_below_its_prefix() -> None:
    assert below("b-1/in", "x") == S3Location("b-1", "in/x")
    assert below("b-1/in/", "x") == S3Location("b-1", "in/x")
    assert below("b-1", "x") == S3Location("b-1", "x")


def test_looks_come_less_and_less_often_and_never_all_at_once() -> None:
    waits = list(islice(pauses(0.25, 5.0, Random(1)), 20))
    assert all(
        0.8 * min(5.0, 0.25 * 1.5**number) <= wait <= 1.2 * min(5.0, 0.25 * 1.5**number)
        for number, wait in enumerate(waits)
    )
    assert len(set(waits)) == len(waits)


@pytest.mark.parametrize(
    ("stored", "accept", "body", "expected"),
    [
        ("application/json", "text/csv", b"", "application/json"),
        ("binary/octet-stream", "text/csv", b"1,2", "text/csv"),
        ("", TRITON, b'{"a":"\xc3\xa9"}xyz', f"{TRITON};json-header-size=10"),
        ("application/octet-stream", TRITON, b"no header", TRITON),
    ],
)
def test_an_answer_is_what_its_object_says_else_what_was_asked_for(
    stored: str, accept: str, body: bytes, expected: str
) -> None:
    assert answer_type(stored, accept, body) == expected
