"""One Generate call: its shards, some at a time, into one stream of events."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator
from dataclasses import replace

from simcloud.client._wire import CommittedShard
from simcloud.client.uploader import UploaderClient
from simcloud.concurrency import ChannelError, OneOperation, ReceiveEnd, SendEnd, open_channel
from simcloud.concurrency.beside import run_beside
from simcloud.concurrency.drain import Drain
from simcloud.errors import NotReady, SimcloudError
from simcloud.spec.plan import ShardFrames
from simcloud_generator.metrics import SHARDS
from simcloud_generator.pool import WorkerPool
from simcloud_generator.requests import Failed, GenerateEvent, Summary
from simcloud_generator.shard_run import Progress, RunContext, ShardRun


class GenerateCall:
    """Renders the shards of one call.

    Args:
        context: what the shards share.
        shards: the shards, in the order in which they are begun.
        pool: the workers.
        uploader: where the shards go.
        concurrent_shards: how many are open at once.
        drain: stops rendering; the stream then ends with an error that says so.
    """

    def __init__(
        self,
        context: RunContext,
        shards: tuple[ShardFrames, ...],
        *,
        pool: WorkerPool,
        uploader: UploaderClient,
        concurrent_shards: int,
        drain: Drain,
    ) -> None:
        self._context = context
        self._shards = deque(shards)
        self._pool = pool
        self._uploader = uploader
        self._concurrent_shards = concurrent_shards
        self._drain = drain
        ends: tuple[SendEnd[GenerateEvent], ReceiveEnd[GenerateEvent]] = open_channel(
            16, name="generate_events"
        )
        self._send, self._receive = ends
        self._rendered = self._failed = 0
        self._quarantined: Counter[str] = Counter()
        self._cpu_s = 0.0

    async def _report(self, event: GenerateEvent) -> None:
        """Counts an event and hands it on; waits for a slow reader."""
        match event:
            case Progress():
                self._rendered += 1
                if event.result.quarantine_rule:
                    self._quarantined[event.result.quarantine_rule] += 1
                self._cpu_s += event.result.cpu_s
                # The pictures are the uploader's by now; a queued event must not hold them.
                event = replace(event, result=replace(event.result, views=()))
            case Failed():
                self._failed += 1
                SHARDS.labels("failed").inc()
            case CommittedShard():
                SHARDS.labels("committed").inc()
        await self._send.send(event)

    async def events(self) -> AsyncGenerator[GenerateEvent]:
        """Everything that happens, the summary last."""
        begin, busy_before = time.monotonic(), self._pool.busy_s
        async with contextlib.aclosing(run_beside(self._run_all, self._receive)) as events:
            async for event in events:
                yield event
        if self._drain.begun:
            raise NotReady(
                "the generator is stopping; what is durable stays: repeat the call on another one"
            )
        wall = time.monotonic() - begin
        pool = self._pool
        yield Summary(
            rendered=self._rendered,
            quarantined=self._quarantined.total(),
            quarantined_by_rule=dict(sorted(self._quarantined.items())),
            wall_s=wall,
            cpu_s=self._cpu_s,
            idle_s=max(0.0, wall * pool.workers - (pool.busy_s - busy_before)),
            fingerprint=pool.identity.fingerprint,
            failed=self._failed,
        )

    async def _run_all(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._drain.watch(task)
        with contextlib.closing(self._send), contextlib.suppress(ChannelError):
            async with OneOperation() as group:
                for _ in range(self._concurrent_shards):
                    group.create_task(self._run_some())

    async def _run_some(self) -> None:
        # A shard that fails as it is stopped may have lost the cancel: no other one begins then.
        while self._shards and not self._drain.begun:
            shard = self._shards.popleft()
            run = ShardRun(
                context=self._context,
                shard=shard,
                pool=self._pool,
                uploader=self._uploader,
                report=self._report,
            )
            try:
                await run.run()
            except SimcloudError as error:
                await self._report(Failed(shard, error))
