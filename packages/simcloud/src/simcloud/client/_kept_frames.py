"""What the sending side of UploadShard keeps until it is durable. Pure."""

from __future__ import annotations

from collections import deque

from simcloud.dataset.frames import EncodedFrame
from simcloud.errors import InvalidRequest


class KeptFrames:
    """Frames sent or to be sent that are not durable, in order."""

    def __init__(self, first_frame: int, *, cameras: int) -> None:
        self._cameras = cameras
        self.frames: deque[EncodedFrame] = deque()
        self.size_bytes = 0
        self.sent = 0
        """How many of them are sent whole on the present stream."""
        self._kept_from = first_frame
        self._next_frame = first_frame
        self._next_camera = 0

    def add(self, frame: EncodedFrame) -> None:
        """Takes the next camera of the next frame."""
        if frame.frame != self._next_frame:
            raise InvalidRequest("frame", f"expected frame {self._next_frame}, found {frame.frame}")
        self.frames.append(frame)
        self.size_bytes += frame.size_bytes
        self._next_camera += 1
        if self._next_camera == self._cameras:
            self._next_camera = 0
            self._next_frame += 1

    def drop_before(self, frame: int) -> None:
        """Frames before this one are durable."""
        self._kept_from = max(self._kept_from, frame)
        while self.frames and self.frames[0].frame < frame:
            self.size_bytes -= self.frames.popleft().size_bytes
            self.sent = max(self.sent - 1, 0)

    def mark_sent(self, frame: EncodedFrame) -> None:
        """A frame was sent whole, unless it has become durable before we heard that it was."""
        if self.sent < len(self.frames) and self.frames[self.sent] is frame:
            self.sent += 1

    def rewind(self, resume_frame: int) -> bool:
        """Sends again from there; False when that frame is not kept any more, or not yet made."""
        if not self._kept_from <= resume_frame <= self._next_frame:
            return False
        self.drop_before(resume_frame)
        self.sent = 0
        return True

    def clear(self, resume_frame: int) -> None:
        """Nothing is kept; the caller's next frame is this one."""
        self.frames.clear()
        self.size_bytes = self.sent = self._next_camera = 0
        self._next_frame = self._kept_from = resume_frame
