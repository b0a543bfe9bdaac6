"""Frames that the sending side keeps: each is sent once a stream, whatever comes in between."""

from __future__ import annotations

import pytest

from simcloud.client._kept_frames import KeptFrames
from simcloud.errors import InvalidRequest
from support.dataset_frames import make_frame


def kept(count: int) -> KeptFrames:
    frames = KeptFrames(0, cameras=1)
    for index in range(count):
        frames.add(make_frame(index, "left"))
    return frames


def test_a_frame_that_is_durable_before_its_sending_is_noticed_hides_no_other() -> None:
    frames = kept(3)
    frames.mark_sent(frames.frames[0])
    last = frames.frames[1]
    frames.drop_before(2)
    frames.mark_sent(last)
    assert frames.sent == 0
    assert frames.frames[frames.sent].frame == 2


def test_after_a_break_everything_kept_is_sent_again_from_the_resume_point() -> None:
    frames = kept(4)
    for frame in list(frames.frames):
        frames.mark_sent(frame)
    assert frames.sent == 4
    assert frames.rewind(2)
    assert [frame.frame for frame in frames.frames] == [2, 3]
    assert frames.sent == 0
    assert not frames.rewind(1)
    assert not frames.rewind(5)


def test_frames_are_taken_in_order() -> None:
    frames = kept(2)
    with pytest.raises(InvalidRequest, match="expected frame 2, found 3"):
        frames.add(make_frame(3, "left"))
