"""Batches as they form: who waits for whom, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from simcloud.clock import Clock
from simcloud.errors import DeadlineExceeded, NotReady
from simcloud_inference_router.background import Background
from simcloud_inference_router.batching.batch import Asked, Batch, Likeness, Member, Shared
from simcloud_inference_router.model_options import DynamicBatchingOptions
from simcloud_inference_router.routing.door import Door

HEADER_ROOM_BYTES = 4096
"""Of the smallest target's limit, kept for what an encoding puts around the tensors."""

MICROSECONDS = 1e-6

Execute = Callable[[Batch], Awaitable[None]]
"""Carries a batch to a target and gives its members their answers; raises what they are told."""


class BatchFormer:
    """Forms the batches of one model.

    A batch goes to the model's queue when it is full, has a preferred number of rows, or its first
    member has waited as long as it may. There it still grows, up to the largest size, until a
    target has a slot: the busier the targets, the larger the batches. A member that gives up leaves
    the others alone; when none is left the batch is cancelled. There are never more members than
    requests of calls and streams, which are bounded.

    Args:
        options: from the catalogue.
        max_rows: the model's largest batch.
        door: where batches wait for a slot.
        background: where they are carried from.
        clock: for waits and deadlines.
    """

    def __init__(
        self,
        options: DynamicBatchingOptions,
        *,
        max_rows: int,
        door: Door,
        background: Background,
        clock: Clock,
    ) -> None:
        self.options = options
        self._max_rows = options.max_batch_size or max_rows
        self._preferred = frozenset(options.preferred_batch_size)
        self._delay_s = options.max_queue_delay_microseconds * MICROSECONDS
        self._door = door
        self._background = background
        self._clock = clock
        self._open: dict[Likeness, Batch] = {}

    @property
    def members(self) -> int:
        """Requests in batches that others may still join."""
        return sum(len(each.members) for each in self._open.values())

    @property
    def max_bytes(self) -> int:
        """Most bytes of a batch's tensors: any target may get it."""
        return self._door.roster.smallest_limit - HEADER_ROOM_BYTES

    async def infer(self, asked: Asked, execute: Execute) -> Shared | None:
        """Waits for an answer as part of some batch.

        Cancelling leaves the batch.

        Args:
            asked: what is asked.
            execute: carries a new batch, if this begins one.

        Returns:
            The answer; None: it must be sent by itself, since it is too large for company or the
            batch could not be sent as one.

        Raises:
            DeadlineExceeded: its time is up.
            SimcloudError: what became of the batch.
        """
        size = asked.size
        if asked.rows >= self._max_rows or size > self.max_bytes:
            return None
        now = self._clock.monotonic()
        future: asyncio.Future[Shared | None] = asyncio.get_running_loop().create_future()
        member = Member(asked, now=now, future=future)
        batch = self._batch_for(asked, size, now, execute)
        batch.join(member)
        if asked.deadline is not None:
            self._set_deadline(batch, member, now)
        self._schedule(batch, asked, now, execute)
        try:
            return await future
        finally:
            self._left(batch, member)

    def _batch_for(self, asked: Asked, size: int, now: float, execute: Execute) -> Batch:
        likeness = asked.likeness()
        batch = self._open.get(likeness)
        if batch is not None and not self._has_room(batch, asked.rows, size):
            self._close(batch, execute)
            batch = None
        if batch is None:
            batch = self._open[likeness] = Batch(likeness, now=now)
        return batch

    def _has_room(self, batch: Batch, rows: int, size: int) -> bool:
        return batch.rows + rows <= self._max_rows and batch.size + size <= self.max_bytes

    def _schedule(self, batch: Batch, asked: Asked, now: float, execute: Execute) -> None:
        """Sees to it that a batch goes when it must."""
        if batch.rows >= self._max_rows:
            self._close(batch, execute)
        elif batch.task is not None:
            return
        elif batch.rows in self._preferred:
            self._start(batch, execute)
        else:
            until = min(batch.opened_at + self._delay_s, self._slack_ends(asked.deadline, now))
            if until <= now:
                self._start(batch, execute)
            elif until < batch.starting_at:
                batch.starting_at = until
                if batch.timer is not None:
                    batch.timer.cancel()
                loop = asyncio.get_running_loop()
                batch.timer = loop.call_later(until - now, self._start, batch, execute)

    def _slack_ends(self, deadline: float | None, now: float) -> float:
        """How long a request with this deadline may wait for company."""
        if deadline is None:
            return float("inf")
        usual_s = max(each.latency.value(now) for each in self._door.roster.targets)
        return min(now + (deadline - now) / 2, deadline - usual_s)

    def _close(self, batch: Batch, execute: Execute) -> None:
        """Lets nobody join any more, and sends it."""
        self.forget(batch)
        if batch.task is None:
            self._start(batch, execute)

    def _start(self, batch: Batch, execute: Execute) -> None:
        if batch.timer is not None:
            batch.timer.cancel()
            batch.timer = None

        async def carry() -> None:
            try:
                await execute(batch)
            except Exception as exc:
                # Before anybody joins what has failed.
                self.forget(batch)
                batch.fail(exc)

        batch.task = self._background.start(carry, name="batch", context=batch.context)
        # A callback, since a task that is cancelled before its first step runs no ``finally``.
        batch.task.add_done_callback(lambda _: self._ended(batch))

    def forget(self, batch: Batch) -> None:
        """Lets nobody join a batch any more."""
        if self._open.get(batch.likeness) is batch:
            del self._open[batch.likeness]

    def _ended(self, batch: Batch) -> None:
        self.forget(batch)
        batch.fail(NotReady("the router is shutting down; send the request again"))

    def _left(self, batch: Batch, member: Member) -> None:
        if member.timer is not None:
            member.timer.cancel()
        future = member.future
        if future.done() and not future.cancelled():
            future.exception()  # looked at: its task may have been cancelled in the same turn
        batch.leave(member)
        if not batch.members:
            self.forget(batch)
            if batch.timer is not None:
                batch.timer.cancel()
            if batch.task is not None:
                batch.task.cancel()

    def _set_deadline(self, batch: Batch, member: Member, now: float) -> None:
        deadline = member.asked.deadline
        assert deadline is not None
        loop = asyncio.get_running_loop()
        delay_s = max(deadline - now, 0.0)
        member.timer = loop.call_later(delay_s, self._expire, batch, member)

    def _expire(self, batch: Batch, member: Member) -> None:
        now = self._clock.monotonic()
        deadline = member.asked.deadline
        assert deadline is not None
        if now < deadline:
            # The loop's clock was early.
            self._set_deadline(batch, member, now)
            return
        if batch.sealed_at is None:
            error = self._door.too_late(now - member.joined_at)
        else:
            message = (
                f"target {batch.trace.target} did not answer the batch that this request was in "
                f"before its deadline ({now - batch.sealed_at:.3f} s)"
            )
            error = DeadlineExceeded(message, target=batch.trace.target)
        batch.expire(member, error, now)
