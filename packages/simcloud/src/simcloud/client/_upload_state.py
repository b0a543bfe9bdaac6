"""How far the upload of a shard is: what the uploader said of it, and what is kept. Pure."""

from __future__ import annotations

from simcloud.client._kept_frames import KeptFrames
from simcloud.client._upload_requests import UploadTarget
from simcloud.client._wire import CommittedShard, committed_from_wire
from simcloud.dataset.frames import EncodedFrame
from simcloud.errors import Bug, SimcloudError
from simcloud.v1 import uploader_pb2


class ResumeMismatch(Exception):
    """The uploader needs frames that are not kept any more: render again from ``resume_frame``.

    The upload stays usable: go on with ``send`` from that frame.
    """

    def __init__(self, resume_frame: int, reason: str) -> None:
        super().__init__(f"render again from frame {resume_frame}: {reason}")
        self.resume_frame = resume_frame
        self.reason = reason


class RestartShard(ResumeMismatch):
    """S3 lost or refused the upload: durable frames are lost too, all begins again."""


class UploadState:
    """One shard's; what others may read, and its upload may change.

    Args:
        target: what is uploaded.
        unacked_bytes: of frames that are kept; raised to what the uploader's parts need.
    """

    def __init__(self, target: UploadTarget, *, unacked_bytes: int) -> None:
        self._target = target
        self._unacked_wanted = unacked_bytes
        self._unacked = unacked_bytes
        self.kept = KeptFrames(target.frames.first, cameras=target.cameras)
        self.resume_frame: int | None = None
        self.durable_before = target.frames.first
        self.epoch = 0
        self.committed: CommittedShard | None = None
        self.commit_wanted = False
        self.mismatch: ResumeMismatch | None = None
        """Not told to the caller yet."""
        self.failure: SimcloudError | None = None
        self.opened_once = False
        # Of the present stream.
        self.stream_open = False
        self.generation = 0
        """Of what is sent: another one begins with each opening and restart."""
        self.credit_granted = 0
        self.credit_used = 0

    def apply(self, answer: uploader_pb2.UploadShardResponse) -> None:
        """Takes an answer in."""
        match answer.WhichOneof("message"):
            case "opened":
                self.stream_open = self.opened_once = True
                self.epoch = answer.opened.epoch
                floor = answer.opened.part_size_bytes + self._target.max_frame_bytes
                self._unacked = max(self._unacked_wanted, floor)
                self._begin(answer.opened.resume_frame, ResumeMismatch, "the stream was reopened")
            case "credit":
                self.credit_granted = max(self.credit_granted, answer.credit.granted_bytes)
            case "durable":
                self.durable_before = answer.durable.durable_before
                self.kept.drop_before(self.durable_before)
            case "restart":
                self._begin(answer.restart.resume_frame, RestartShard, answer.restart.reason)
            case "committed":
                self.committed = committed_from_wire(answer.committed)
                self.kept.clear(self._target.frames.end)
            case unknown:
                raise Bug(f"the uploader sent {unknown!r}, which this client does not know")

    def _begin(self, resume_frame: int, kind: type[ResumeMismatch], reason: str) -> None:
        self.generation += 1
        self.credit_granted = self.credit_used = 0
        first = self.resume_frame is None
        self.resume_frame = resume_frame
        self.durable_before = resume_frame
        if first:
            self.kept.clear(resume_frame)
        elif not self.kept.rewind(resume_frame):
            self.kept.clear(resume_frame)
            self.mismatch = kind(resume_frame, reason)

    def can_send(self, committed_in: int) -> bool:
        """Whether the sender has something to do, or is done.

        Args:
            committed_in: generation in which it has sent the commit, -1 before.
        """
        if self.committed is not None:
            return True
        if not self.stream_open or self.mismatch is not None:
            return False
        if self.kept.sent < len(self.kept.frames):
            return True
        return self.commit_wanted and committed_in != self.generation

    def fits(self, frame: EncodedFrame) -> bool:
        """Whether a frame may be kept, too."""
        kept = self.kept.size_bytes
        return self.opened_once and (kept == 0 or kept + frame.size_bytes <= self._unacked)

    @property
    def interrupted(self) -> bool:
        """Whether ``raise_failure`` has something to raise."""
        return self.failure is not None or self.mismatch is not None

    def raise_failure(self) -> None:
        """Raises what the caller must know; a mismatch once."""
        if self.failure is not None:
            raise self.failure
        if self.mismatch is not None:
            mismatch, self.mismatch = self.mismatch, None
            raise mismatch
