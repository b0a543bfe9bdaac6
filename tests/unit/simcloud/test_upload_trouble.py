"""When the stream of an upload is opened again, and when no more."""

from __future__ import annotations

import random

import pytest

from simcloud.client._upload_trouble import Trouble
from simcloud.errors import NotReady

BROKE = NotReady("the stream broke")
DRAINING = NotReady("draining", retry_after_s=2.0)


def trouble() -> Trouble:
    return Trouble(patience_s=10.0, rng=random.Random(1))


def test_the_wait_is_what_the_uploader_asks_for_and_grows() -> None:
    now = trouble()
    assert 0 <= now.delay_s(BROKE, broke=True, now_s=100.0) <= 0.1
    assert 2.0 <= now.delay_s(DRAINING, broke=False, now_s=101.0) <= 2.2


def test_patience_ends_with_what_the_uploader_said_last_rather_than_that_a_stream_broke() -> None:
    now = trouble()
    now.delay_s(DRAINING, broke=False, now_s=100.0)
    now.delay_s(BROKE, broke=True, now_s=109.0)
    with pytest.raises(NotReady, match="draining"):
        now.delay_s(BROKE, broke=True, now_s=110.5)


def test_patience_begins_anew_once_a_stream_got_somewhere() -> None:
    now = trouble()
    now.delay_s(DRAINING, broke=False, now_s=100.0)
    now.is_over()
    now.delay_s(BROKE, broke=True, now_s=111.0)
    with pytest.raises(NotReady, match="broke"):
        now.delay_s(BROKE, broke=True, now_s=121.5)
