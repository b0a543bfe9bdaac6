"""One batch and its members; no I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import copy_context
from dataclasses import dataclass
from typing import TypeAlias

from simcloud.errors import SimcloudError
from simcloud_inference_router.codecs.base import TensorAnswer, TensorRequest
from simcloud_inference_router.statistics import CallTrace
from simcloud_inference_router.targets.base import TargetAnswer

Likeness: TypeAlias = tuple[object, ...]
"""What requests of one batch have in common."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that may be sent with others."""

    request: TensorRequest
    rows: int
    """Its first dimension."""
    caller: str
    deadline: float | None
    """Latest moment on the router's clock."""
    patient: bool
    """Whether it is a stream's."""
    target_model: str
    traceparent: str
    trace: CallTrace
    """Filled in, whatever becomes of it."""

    @property
    def size(self) -> int:
        """Bytes of its tensors."""
        return sum(len(each.data) for each in self.request.inputs)

    def likeness(self) -> Likeness:
        """Requests with the same one can be sent as one.

        The caller is part of it: turns in the queue, quotas and bad rows stay each caller's own.
        """
        request = self.request
        return (
            self.caller,
            self.patient,
            self.target_model,
            request.outputs,
            tuple([(each.name, each.datatype, each.shape[1:]) for each in request.inputs]),
            # True, 1 and 1.0 are equal, and not the same to a model.
            tuple(sorted((name, type(value).__name__, value) for name, value in parameters.items()))
            if (parameters := request.parameters)
            else (),
        )


@dataclass(frozen=True, slots=True)
class Shared:
    """A member's share of the batch's answer."""

    tensors: TensorAnswer
    target: TargetAnswer
    """What was said beside it; without a body."""


class Member:
    """One request of a batch."""

    __slots__ = ("asked", "future", "joined_at", "timer")

    def __init__(self, asked: Asked, *, now: float, future: asyncio.Future[Shared | None]) -> None:
        self.asked = asked
        self.joined_at = now
        self.future = future
        """Its answer; None: it is to be sent by itself."""
        self.timer: asyncio.TimerHandle | None = None


class Batch:
    """Requests that are sent as one.

    Others may join until it is sealed, which is when a target has a slot for it.

    Args:
        likeness: what its members have in common.
        now: seconds.
    """

    __slots__ = (
        "context",
        "likeness",
        "members",
        "opened_at",
        "rows",
        "sealed_at",
        "sent",
        "size",
        "starting_at",
        "task",
        "timer",
        "trace",
    )

    def __init__(self, likeness: Likeness, *, now: float) -> None:
        self.context = copy_context()
        """Of who began it: who joins last, or whose timer sends it, has a trace of its own."""
        self.likeness = likeness
        self.opened_at = now
        self.members: dict[Member, None] = {}
        """Those who want an answer, in the order in which they came."""
        self.rows = 0
        self.size = 0
        """Bytes of their tensors."""
        self.sealed_at: float | None = None
        self.sent = 0
        """Requests whose rows it has, once it is sealed."""
        self.starting_at = float("inf")
        """When it goes to the queue at the latest."""
        self.timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None
        """Carries it to a target; None while it waits for company."""
        self.trace = CallTrace(batched=True)
        """What happened to it as one request."""

    def join(self, member: Member) -> None:
        """Takes one more."""
        self.members[member] = None
        self.rows += member.asked.rows
        self.size += member.asked.size

    def leave(self, member: Member) -> None:
        """One gives up; its rows are not sent, unless they have been."""
        if member not in self.members:
            return
        del self.members[member]
        if self.sealed_at is None:
            self.rows -= member.asked.rows
            self.size -= member.asked.size

    def late(self, now: float) -> list[Member]:
        """Those whose time is up."""
        return [
            each
            for each in self.members
            if each.asked.deadline is not None and each.asked.deadline <= now
        ]

    def seal(self, now: float) -> list[Member]:
        """Nobody joins any more; those who want an answer."""
        self.sealed_at = now
        members = [each for each in self.members if not each.future.done()]
        self.sent = len(members)
        return members

    def answer(self, members: Sequence[Member], shares: Sequence[Shared]) -> None:
        """Gives each member its share; those that gave up want none."""
        for member, share in zip(members, shares, strict=True):
            if not member.future.done():
                self._tell(member)
                member.future.set_result(share)

    def send_apart(self, members: Sequence[Member]) -> None:
        """Has each of these members sent by itself."""
        for member in members:
            if not member.future.done():
                self._tell(member)
                member.future.set_result(None)

    def fail(self, error: BaseException) -> None:
        """Ends all members that have no answer."""
        for member in self.members:
            if not member.future.done():
                self._tell(member)
                member.future.set_exception(error)

    def expire(self, member: Member, error: SimcloudError, now: float) -> None:
        """Ends one member whose time is up."""
        if not member.future.done():
            self._tell(member, now)
            member.future.set_exception(error)

    def _tell(self, member: Member, now: float | None = None) -> None:
        """Writes into a member's trace what happened to the batch."""
        mine, trace = member.asked.trace, self.trace
        mine.batched = True
        mine.together = self.sent > 1
        if self.sent == 1:
            # For the log: they are counted with the batch.
            mine.request_bytes = trace.request_bytes
            mine.response_bytes = trace.response_bytes
        if self.sealed_at is not None:
            mine.queue_s = self.sealed_at - member.joined_at
        elif now is not None:
            mine.queue_s = now - member.joined_at
        mine.target = trace.target
        mine.attempts = trace.attempts
        mine.encode_s = trace.encode_s
        mine.decode_s = trace.decode_s
        if now is not None and self.sealed_at is not None:
            mine.target_s = now - self.sealed_at
        else:
            mine.target_s = trace.target_s
