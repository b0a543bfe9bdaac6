"""The streams of this process: one a shard, stopped from outside by an error they end with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from simcloud.errors import NotReady, SimcloudError
from simcloud.telemetry import metrics
from simcloud_uploader.metrics import STREAMS
from simcloud_uploader.ownership import ShardTaken

ShardKey = tuple[str, str, str, int]
"""Bucket, prefix, run, shard."""


class LiveStream:
    """A stream that holds a shard in this process."""

    def __init__(self, writer: str) -> None:
        self.writer: Final = writer
        self._stop: asyncio.Future[SimcloudError] = asyncio.get_running_loop().create_future()
        self.closed: Final = asyncio.Event()

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.done()

    def stop(self, error: SimcloudError) -> None:
        """Tells it to leave a checkpoint and to end with ``error``. The first error counts."""
        if not self._stop.done():
            self._stop.set_result(error)

    async def stopped(self) -> SimcloudError:
        """Waits until it is told to stop."""
        return await asyncio.shield(self._stop)


class LiveStreams:
    """Every stream of this process that holds a shard."""

    def __init__(self, *, patience_s: float) -> None:
        """Makes an empty table.

        Args:
            patience_s: longest wait for a former stream of the same shard to close.
        """
        self._patience_s = patience_s
        self._streams: dict[ShardKey, LiveStream] = {}
        self._draining: SimcloudError | None = None
        self._gauge = metrics.gauge(STREAMS)

    def __len__(self) -> int:
        return len(self._streams)

    @asynccontextmanager
    async def hold(self, key: ShardKey, writer: str) -> AsyncIterator[LiveStream]:
        """Holds a shard during the block.

        A writer whose own former stream is still here (its connection broke and nobody has noticed
        yet) ends that one first.

        Raises:
            ShardTaken: another writer's stream is here.
            NotReady: the process is draining, or the former stream does not end.
        """
        stream = LiveStream(writer)
        try:
            async with asyncio.timeout(self._patience_s):
                while (former := self._streams.get(key)) is not None:
                    self._make_way(former, writer, key)
                    await former.closed.wait()
        except TimeoutError as error:
            raise NotReady(
                f"the former stream of shard {key[3]} of {key[2]} has not ended yet; open it again",
                retry_after_s=1.0,
            ) from error
        if self._draining is not None:
            raise self._draining
        self._streams[key] = stream
        self._gauge.inc()
        try:
            yield stream
        finally:
            del self._streams[key]
            self._gauge.dec()
            stream.closed.set()

    def stop(self, error: SimcloudError, chosen: Callable[[ShardKey], bool]) -> list[LiveStream]:
        """Tells the chosen streams to end with ``error`` and returns them."""
        streams = [stream for key, stream in self._streams.items() if chosen(key)]
        for stream in streams:
            stream.stop(error)
        return streams

    async def drain(self) -> None:
        """Refuses new streams, tells all to leave a checkpoint and waits until they have."""
        self._draining = NotReady(
            "this uploader is shutting down; open the shard again", retry_after_s=0.1
        )
        for stream in self.stop(self._draining, lambda _: True):
            await stream.closed.wait()

    def _make_way(self, former: LiveStream, writer: str, key: ShardKey) -> None:
        if writer and former.writer == writer:
            former.stop(NotReady("the same writer opened the shard again"))
        elif not former.stopping:
            raise ShardTaken(
                f"shard {key[3]} of {key[2]} belongs to {former.writer}: drop the frames and wait "
                "for its index",
                shard=key[3],
                owner=former.writer,
            )
