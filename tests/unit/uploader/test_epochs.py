"""Who may own a shard, decided from what S3 says alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from simcloud.errors import Corruption
from simcloud_uploader.epochs import (
    Claim,
    Epoch,
    EpochState,
    Owned,
    RunAborted,
    SeenEpoch,
    WaitForOwnStream,
    continues_upload,
    decide,
    epoch_from_json,
    released,
)
from simcloud_uploader.parts import StoredPart

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EPOCH = Epoch(
    epoch=3,
    state=EpochState.OPEN,
    instance="theirs",
    writer="host/1/aa",
    upload_id="upload",
    upload_epoch=2,
    spec_digest="s" * 64,
    fingerprint="f",
    part_size_bytes=100,
    first_frame=8,
    parts=(
        StoredPart(number=1, size_bytes=512, etag='"a"', crc64nvme=2**63 + 5, end_frame=10),
        StoredPart(number=2, size_bytes=1024, etag='"b"', crc64nvme=0, end_frame=13),
    ),
)


def seen(document: Epoch, age_s: float) -> SeenEpoch:
    return SeenEpoch(document=document, last_modified=NOW, date=NOW + timedelta(seconds=age_s))


def decision(
    document: Epoch | None, age_s: float = 0.0, *, instance: str = "ours", writer: str = "me"
) -> object:
    newest = None if document is None else seen(document, age_s)
    return decide(newest, instance=instance, writer=writer, stale_after_s=30.0)


def test_the_first_claims_epoch_1() -> None:
    assert decision(None) == Claim(1, None)


def test_a_released_epoch_is_gone_on_with_at_once() -> None:
    assert decision(released(EPOCH)) == Claim(4, released(EPOCH))


def test_a_process_goes_on_with_its_own_epoch_at_once() -> None:
    assert decision(EPOCH, instance="theirs") == Claim(4, EPOCH)


def test_another_process_waits_until_the_epoch_is_stale() -> None:
    assert isinstance(decision(EPOCH, 29), Owned)
    # Both of S3's times are whole seconds: 30 may be 29 and a little.
    assert isinstance(decision(EPOCH, 30), Owned)
    assert decision(EPOCH, 31) == Claim(4, EPOCH)


def test_a_writer_that_comes_again_waits_for_its_own_former_stream() -> None:
    answer = decision(EPOCH, 10, writer="host/1/aa")
    assert isinstance(answer, WaitForOwnStream)
    assert answer.stale_in_s == 21.0
    assert isinstance(decision(replace(EPOCH, writer=""), 10, writer=""), Owned)


def test_an_aborted_epoch_is_never_gone_on_with() -> None:
    aborted = replace(EPOCH, state=EpochState.ABORTED)
    assert decision(aborted, 10**6) == RunAborted()


def test_an_upload_is_continued_for_the_same_spec_and_fingerprint_alone() -> None:
    def goes_on(document: Epoch | None, *, mixed: bool = False) -> bool:
        return continues_upload(document, spec_digest="s" * 64, fingerprint="f", mixed=mixed)

    assert goes_on(EPOCH)
    assert not goes_on(None)
    assert not goes_on(replace(EPOCH, fingerprint="g"))
    assert goes_on(replace(EPOCH, fingerprint="g"), mixed=True)
    assert not goes_on(replace(EPOCH, spec_digest="t" * 64), mixed=True)
    assert not goes_on(replace(EPOCH, upload_id=""))


def test_an_epoch_is_read_as_it_was_written() -> None:
    assert epoch_from_json(EPOCH.to_json(), key="k") == EPOCH
    assert EPOCH.next_frame == 13
    empty = replace(EPOCH, parts=())
    assert epoch_from_json(empty.to_json(), key="k").next_frame == 8


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"simcloud.epoch/v1", b"simcloud.epoch/v9"),
        (b'"number":2', b'"number":3'),
        (b'"next_frame":13', b'"next_frame":14'),
        (b'"state":"open"', b'"state":"odd"'),
        (b"{", b"["),
        (b'"writer"', b'"author"'),
    ],
)
def test_what_is_no_epoch_is_refused(old: bytes, new: bytes) -> None:
    with pytest.raises(Corruption):
        epoch_from_json(EPOCH.to_json().replace(old, new, 1), key="k")
