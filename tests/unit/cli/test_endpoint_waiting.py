"""Waiting for AWS: bounded by a clock, jittered, told once a minute."""

from __future__ import annotations

import pytest

from simcloud.errors import DeadlineExceeded
from simcloud_cli.endpoints.waiting import wait_until
from support.paper_endpoints import Told


async def _wait(told: Told, states: list[str]) -> str:
    seen = iter(states)

    async def look() -> str:
        return next(seen)

    return await wait_until(
        look,
        done=lambda state: state == "InService",
        state=str,
        what="endpoint detector",
        patience=told.patience,
    )


async def test_each_change_is_told_and_a_standstill_once_a_minute() -> None:
    told = Told()
    await _wait(told, ["Creating"] * 12 + ["InService"])
    assert told.lines[0] == "endpoint detector: Creating, 0 s"
    assert told.lines[-1].startswith("endpoint detector: InService")
    # Twelve pauses of 12 to 18 s are three minutes.
    assert 3 <= len(told.lines) - 1 <= 4
    assert all(12 <= pause <= 18 for pause in told.pauses)
    assert len(set(told.pauses)) > 1


async def test_what_is_done_at_once_is_not_waited_for() -> None:
    told = Told()
    assert await _wait(told, ["InService"]) == "InService"
    assert told.pauses == []


async def test_the_last_look_is_at_the_limit() -> None:
    told = Told(limit_s=40)
    with pytest.raises(DeadlineExceeded, match="still Creating after 40 s"):
        await _wait(told, ["Creating"] * 5)
    assert sum(told.pauses) == pytest.approx(40)
