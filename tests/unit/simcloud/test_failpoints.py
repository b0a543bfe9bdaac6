"""Where a process kills itself: what the variable may say, and that it does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from simcloud.errors import InvalidRequest
from simcloud.failpoints import VARIABLE, Failpoint, arm, armed, reached

PASSES_THREE_TIMES = """
from simcloud import failpoints
failpoints.arm()
for time in (1, 2, 3):
    print(time, flush=True)
    failpoints.reached(failpoints.Failpoint.AFTER_PART)
    failpoints.reached(failpoints.Failpoint.AFTER_EPOCH)
"""


def test_points_and_times_are_read() -> None:
    assert armed("") == {}
    assert armed(" uploader.after_part=kill:3, uploader.after_complete=kill:1,") == {
        Failpoint.AFTER_PART: 3,
        Failpoint.AFTER_COMPLETE: 1,
    }


@pytest.mark.parametrize(
    "text",
    [
        "uploader.after_part",
        "uploader.after_part=kill",
        "uploader.after_part=kill:0",
        "uploader.after_part=kill:-1",
        "uploader.after_part=stop:1",
        "uploader.after_lunch=kill:1",
    ],
)
def test_what_is_no_point_or_no_action_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"uploader\.after_"):
        armed(text)


def test_an_unarmed_process_passes_every_point() -> None:
    arm({})
    for point in Failpoint:
        reached(point)


@pytest.mark.parametrize("time", [1, 3])
def test_an_armed_process_dies_at_the_time_that_was_asked_for(time: int) -> None:
    process = subprocess.run(
        [sys.executable, "-c", PASSES_THREE_TIMES],
        env={**os.environ, VARIABLE: f"uploader.after_part=kill:{time}"},
        capture_output=True,
        check=False,
        text=True,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    passed = [line for line in process.stdout.splitlines() if line.isdigit()]
    assert len(passed) == time
