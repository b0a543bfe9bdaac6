"""Two ways to look at a record: whole, and as its frame passes by. Both refuse the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from simcloud.dataset.record import record_from_json, record_head
from simcloud.errors import Corruption
from support.dataset_frames import make_frame


def plain() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(make_frame(3, "left").record)
    return found


def damaged() -> Iterator[tuple[str, object]]:
    places: tuple[tuple[Any, ...], ...] = ((), ("view",), ("objects", 0), ("layers", 0))
    for place in places:
        names: Any = plain()
        for step in place:
            names = names[step]
        for name in (*names, "more"):
            record = plain()
            inner: Any = record
            for step in place:
                inner = inner[step]
            if name in inner:
                del inner[name]
            else:
                inner[name] = 1
            yield f"{place} {name}", record
    for name, value in (
        ("version", 2), ("objects", 1), ("objects", ["a"]), ("layers", None), ("view", []),
        ("quarantine", {"rule": "a"}), ("quarantine", {"rule": "a", "detail": "b", "c": 1}),
    ):  # fmt: skip
        yield f"{name} {value}", {**plain(), name: value}
    yield "no object", []


def refused(read: Any, data: bytes) -> bool:
    try:
        read(data)
    except Corruption:
        return True
    return False


def test_a_head_says_what_the_record_says() -> None:
    data = make_frame(3, "left").record
    record, head = record_from_json(data), record_head(data)
    for name in ("frame", "camera", "split", "spec_digest", "fingerprint"):
        assert getattr(head, name) == getattr(record, name)
    assert [layer["member"] for layer in head.layers] == [layer.member for layer in record.layers]
    assert not head.quarantined


@pytest.mark.parametrize(("where", "record"), list(damaged()), ids=lambda item: str(item)[:40])
def test_what_is_no_record_is_refused_where_it_comes_in(where: str, record: object) -> None:
    data = json.dumps(record).encode()
    assert refused(record_head, data) == refused(record_from_json, data), where


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"1", b"\xff"])
def test_what_is_no_json_is_no_record(data: bytes) -> None:
    with pytest.raises(Corruption):
        record_head(data)
