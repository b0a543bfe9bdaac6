"""One ``Infer`` stream without its transport: credit, memory, order, an answer for every frame."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from simcloud.concurrency.budget import ByteLease
from simcloud.concurrency.credits import CreditExceeded, CreditWindow
from simcloud.errors import InvalidRequest, Overloaded, SimcloudError
from simcloud.records import record
from simcloud_inference_router.dispatch import RoutedModel
from simcloud_inference_router.pipeline import Pipeline
from simcloud_inference_router.router import Call, Picture, Router
from simcloud_inference_router.statistics import CallTrace
from simcloud_inference_router.versions import counted_version

Message = TypeVar("Message")


@record
class Refused:
    """A frame that can't be looked at; it gets an answer all the same."""

    id: str
    error: SimcloudError


@record
class Taken:
    """A frame that is being looked at."""

    picture: Picture
    lease: ByteLease
    taken_at: float


@record
class FrameAnswer:
    """What became of one frame."""

    id: str
    trace: CallTrace
    total_s: float = 0.0
    error: SimcloudError | None = None
    media_type: str = ""
    body: bytes = b""
    lease: ByteLease | None = None
    """Memory of the frame, given back once the answer is written; None for a frame that was refused
    at once, whose id was not in flight."""


class FrameStream:
    """Answers the frames of one stream.

    The client may have sent ``window`` frames more than it has answers. Pictures count against the
    router's payload budget from the moment they are read until the target has answered, and as much
    of it as their answer takes until that is written; while it is full, no more frames are read. An
    error of one frame is its answer.

    Args:
        router: whom to ask.
        model: which model.
        version: that the client asked for; empty: the model's first.
        call: who asks.
        ordered: whether answers go out in the order of the frames.
        write: sends an answer.
        grant: sends the credit granted in total.
    """

    def __init__(
        self,
        router: Router,
        *,
        model: RoutedModel,
        version: str,
        call: Call,
        ordered: bool,
        write: Callable[[FrameAnswer], Awaitable[None]],
        grant: Callable[[int], Awaitable[None]],
    ) -> None:
        self._router = router
        self._model = model
        self._version = counted_version(model, version)
        self._call = call
        self._ordered = ordered
        self._write = write
        self._grant = grant
        self._window = router.stream_window
        # Credit is sent in batches of a quarter of the window: one message for several frames.
        self._batch = max(1, self._window // 4)
        self._credit = CreditWindow()
        self._ungranted = 0
        self._leases: set[ByteLease] = set()
        self._ids: set[str] = set()

    async def run(
        self, messages: AsyncIterator[Message], read: Callable[[Message], Picture | Refused]
    ) -> None:
        """Returns when every frame is answered.

        Cancelling cancels the requests at the target. Nothing is held afterwards.

        Args:
            messages: the stream's, a frame each.
            read: reads one; what it raises ends the stream.

        Raises:
            Overloaded: the client sent more than its credit; what was within it is answered.
            NotReady: the process drains; what was taken is answered.
            SimcloudError: what ``messages`` or ``read`` raised.
        """
        await self._grant(self._credit.grant(self._window))
        pipeline: Pipeline[Taken | Refused, FrameAnswer] = Pipeline(
            answer=self._answer,
            write=self._written,
            # One more than the credit, so that a client that oversteps it is seen.
            window=self._window + 1,
            ordered=self._ordered,
            drain=self._router.drain,
        )
        try:
            await pipeline.run(self._admitted(messages, read))
        finally:
            for lease in tuple(self._leases):
                lease.release()

    async def _admitted(
        self, messages: AsyncIterator[Message], read: Callable[[Message], Picture | Refused]
    ) -> AsyncIterator[Taken | Refused]:
        payloads = self._router.payloads
        async for message in messages:
            frame = read(message)
            try:
                self._credit.charge(1)
            except CreditExceeded as exc:
                raise Overloaded(
                    f"{exc.used} frames were sent on the stream, {exc.granted} were granted; wait "
                    "for credit"
                ) from exc
            begun = self._router.clock.monotonic()
            if isinstance(frame, Refused):
                yield frame
                continue
            size = self._check(frame)
            if isinstance(size, Refused):
                yield size
                continue
            lease = payloads.try_acquire(size) or await payloads.acquire(size)
            self._leases.add(lease)
            self._ids.add(frame.id)
            yield Taken(frame, lease, begun)

    def _check(self, frame: Picture) -> int | Refused:
        """Bytes that a frame takes in memory, or why it can't be looked at."""
        if frame.id in self._ids:
            problem = f"{frame.id!r} is in flight already; ids are unique among frames in flight"
            return Refused(frame.id, InvalidRequest("frame.id", problem))
        try:
            self._router.quotas.charge(self._call.caller)
            return self._router.check_picture(self._call.caller, self._model, frame)
        except SimcloudError as exc:
            return Refused(frame.id, exc)

    async def _answer(self, frame: Taken | Refused) -> FrameAnswer:
        if isinstance(frame, Refused):
            refusal = CallTrace(version=self._version)
            self._router.recorded(self._model, refusal, self._call, frame.id).end(frame.error)
            return FrameAnswer(id=frame.id, trace=refusal, error=frame.error)
        trace = CallTrace(version=self._version)
        clock = self._router.clock
        picture = frame.picture
        try:
            answer = await self._router.infer_picture(self._model, picture, self._call, trace)
        except SimcloudError as exc:
            frame.lease.release()
            total_s = clock.monotonic() - frame.taken_at
            return FrameAnswer(
                id=picture.id, trace=trace, total_s=total_s, error=exc, lease=frame.lease
            )
        # The picture has gone, the answer stays until its turn: a client that does not read holds
        # what it was given, of its own frames' memory.
        frame.lease.shrink_to(min(frame.lease.size, len(answer.body)))
        return FrameAnswer(
            id=picture.id,
            trace=trace,
            lease=frame.lease,
            total_s=clock.monotonic() - frame.taken_at,
            media_type=answer.content_type,
            body=answer.body,
        )

    async def _written(self, answer: FrameAnswer) -> None:
        if answer.lease is not None:
            # Before the client can read the answer and use the id again.
            self._ids.discard(answer.id)
        await self._write(answer)
        if answer.lease is not None:
            answer.lease.release()
            self._leases.discard(answer.lease)
        self._ungranted += 1
        if self._ungranted >= self._batch:
            total = self._credit.grant(self._ungranted)
            self._ungranted = 0
            await self._grant(total)
