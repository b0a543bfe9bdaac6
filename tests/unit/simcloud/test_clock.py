from __future__ import annotations

import time

import pytest

from simcloud.clock import SYSTEM_CLOCK, Clock
from support.clock import ManualClock


def test_system_clock_is_the_machines_clock() -> None:
    assert SYSTEM_CLOCK.monotonic() == pytest.approx(time.monotonic(), abs=1)
    assert SYSTEM_CLOCK.time() == pytest.approx(time.time(), abs=1)


def test_manual_clock_moves_only_when_told() -> None:
    clock: Clock = ManualClock(monotonic=5.0, time=100.0)
    assert (clock.monotonic(), clock.time()) == (5.0, 100.0)
    assert isinstance(clock, ManualClock)
    clock.advance(2.5)
    assert (clock.monotonic(), clock.time()) == (7.5, 102.5)


def test_manual_clock_never_goes_back() -> None:
    with pytest.raises(ValueError, match="never goes back"):
        ManualClock().advance(-1)
