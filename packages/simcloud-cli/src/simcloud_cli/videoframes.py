"""Frames of a video file, sampled by number or by time."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2

from simcloud.client.router import Picture
from simcloud.errors import InvalidRequest

ENDINGS = (".mp4", ".mov", ".avi", ".mkv", ".webm")
"""Of files that are read as videos."""
_JPEG_QUALITY = 95
"""A video's frames have been through a lossier codec; PNG would be about ten times as much."""
_DEFAULT_FPS = 1.0
_SLACK_S, _SLACK = 0.5, 0.02
"""Seconds, or share of the duration, by which an intact video may end early: a container's duration
is that of its longest stream, often the sound, and where it keeps no count of frames an estimate.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Which frames of a video are looked at; one a second when nothing is said."""

    every: int | None = None
    """Every so many frames, the first included."""
    fps: float | None = None
    """So many a second of the video's time, at most those it has."""
    limit: int | None = None
    """At most so many of each video."""

    def __post_init__(self) -> None:
        if self.every is not None and self.fps is not None:
            raise InvalidRequest("--every, --fps", "name one of the two")

    def turn(self, index: int, time_s: float) -> int:
        """Number of the turn that a frame falls into; the first frame of each turn is looked at."""
        if self.every is not None:
            return index // self.every
        # Times are multiples of a container's tick: a frame just short of its turn belongs to it.
        return math.floor(time_s * (self.fps or _DEFAULT_FPS) + 1e-3)


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One frame."""

    index: int
    """In the video, from 0."""
    time_s: float
    """From its first frame."""
    picture: Picture
    """JPEG, turned upright as the video says."""


async def sampled_frames(path: Path, sampling: Sampling) -> AsyncGenerator[VideoFrame, None]:
    """Frames of a video in its order, decoded in a thread as they are asked for.

    Raises:
        InvalidRequest: it can't be read as a video, or ends before its stated end; the frames
            before that have been given.
    """
    frames = _frames(path, sampling)
    loop = asyncio.get_running_loop()
    # One thread of its own: a capture is not to be used by two, and closing it queues up behind a
    # read that a cancel has left alone.
    with ThreadPoolExecutor(1, thread_name_prefix="video") as thread:
        try:
            while (frame := await loop.run_in_executor(thread, next, frames, None)) is not None:
                yield frame
        finally:
            thread.submit(frames.close)


def _frames(path: Path, sampling: Sampling) -> Generator[VideoFrame, None, None]:
    capture = _open(path)
    try:
        taken, last_turn, time_s = 0, -1, 0.0
        index, start_s = 0, 0.0
        fps = capture.get(cv2.CAP_PROP_FPS) or 1.0
        while sampling.limit is None or taken < sampling.limit:
            if not capture.grab():
                _check_end(path, capture, index, time_s)
                return
            at_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            start_s = at_s if index == 0 else start_s
            # Containers without times say 0 for every frame.
            time_s = at_s - start_s if at_s > start_s else index / fps
            turn = sampling.turn(index, time_s)
            if turn > last_turn:
                last_turn = turn
                taken += 1
                yield VideoFrame(index, time_s, _retrieve(path, capture, index))
            index += 1
    finally:
        capture.release()


def _open(path: Path) -> cv2.VideoCapture:
    # What FFmpeg and OpenCV have to say about a bad file goes to standard error line by line; ours
    # is said once, by the error.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    # FFmpeg by name: other readers take "%03d" in a name for a pattern. Absolute, since it takes
    # "name:" at the beginning for a protocol.
    capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise InvalidRequest(
            str(path),
            "can't be read as a video: it is none, it is cut off (an MP4 or MOV is unreadable "
            "without its end), or its codec is unknown here; `ffmpeg -i` says which",
        )
    return capture


def _retrieve(path: Path, capture: cv2.VideoCapture, index: int) -> Picture:
    read, pixels = capture.retrieve()
    if read:
        options = [int(cv2.IMWRITE_JPEG_QUALITY), _JPEG_QUALITY]
        done, data = cv2.imencode(".jpg", pixels, options)
        if done:
            return Picture("image/jpeg", data.tobytes())
    raise InvalidRequest(str(path), f"frame {index} can't be decoded")


def _check_end(path: Path, capture: cv2.VideoCapture, frames: int, time_s: float) -> None:
    if not frames:
        raise InvalidRequest(str(path), "holds no frame that can be decoded")
    fps = capture.get(cv2.CAP_PROP_FPS)
    stated = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    if fps <= 0 or stated <= 0:
        return
    duration_s = stated / fps
    if duration_s - (time_s + 1 / fps) > max(_SLACK_S, _SLACK * duration_s, 3 / fps):
        raise InvalidRequest(
            str(path),
            f"ends after {frames} frames, at {time_s:.2f} s of {duration_s:.2f} s: it is cut off "
            "or damaged; the frames before that were looked at",
        )
