"""One stream: its two directions, their windows, and who waits for what."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from simcloud.rpc.http2.messages import Inbox
from simcloud.rpc.http2.wire import RequestHead

if TYPE_CHECKING:
    from simcloud.rpc.http2.connection import Connection


class Stream:
    """The transport's half of a call. The servicer's half is ``context.Context``, which extends it.

    One object and not two: every call makes one, and the halves would refer to each other.

    Args:
        connection: whose stream it is.
        stream_id: its number.
        head: what its headers say.
    """

    __slots__ = (
        "abandoned",
        "connection",
        "content_left",
        "deadline",
        "end_block",
        "head",
        "inbox",
        "local_ended",
        "opened_at",
        "outbox",
        "reader",
        "receive_left",
        "remote_ended",
        "request",
        "send_left",
        "stream_id",
        "task",
        "timer",
        "writers",
    )

    def __init__(
        self,
        connection: Connection,
        stream_id: int,
        head: RequestHead,
    ) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self.head = head
        self.receive_left = connection.limits.stream_window_bytes
        """Bytes that the peer may send before it hears of us."""
        self.send_left = connection.sender.initial_window
        """Bytes that we may send before we hear of the peer."""
        self.content_left = head.content_length
        """Bytes that are to come, if the headers say so."""
        self.remote_ended = False
        """The peer has said that nothing more comes."""
        self.local_ended = False
        """We have sent the end, or nobody takes it any more."""
        self.abandoned = False
        """The peer has gone or has cancelled the call, or its time is over."""
        self.request: bytes | None = None
        """The one message of a call that came whole in one frame."""
        self.inbox: Inbox | None = None
        """What came otherwise."""
        self.reader: asyncio.Future[None] | None = None
        self.outbox: deque[memoryview] | None = None
        """What a window or a full transport keeps back."""
        self.end_block: bytes | None = None
        """Trailers that follow the outbox."""
        self.writers: asyncio.Future[None] | None = None
        self.task: asyncio.Task[None] | None = None
        self.opened_at = 0.0
        """When its headers came, by the loop's clock."""
        self.deadline: float | None = None
        """By the loop's clock."""
        self.timer: asyncio.TimerHandle | None = None

    def wake_reader(self) -> None:
        """Something has come, or nothing will."""
        reader = self.reader
        if reader is not None:
            self.reader = None
            if not reader.done():
                reader.set_result(None)

    def wake_writers(self) -> None:
        """The outbox is empty, or nobody takes it."""
        writers = self.writers
        if writers is not None:
            self.writers = None
            if not writers.done():
                writers.set_result(None)

    def drop(self) -> None:
        """Lets go of what it holds; nothing more comes or goes."""
        self.local_ended = True
        self.outbox = None
        self.end_block = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.wake_reader()
        self.wake_writers()
