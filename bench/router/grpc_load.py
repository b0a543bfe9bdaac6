"""Unary gRPC calls at little cost: HTTP/2 frames made once, answers counted and not read.

A gRPC library's client costs as much as the router it is to load, and would share its core with the
endpoint. Here a call is two frames of known bytes, and its answer four headers of nine bytes: 20 µs
both ways. Calls that come back with a message are answered, those without one have failed.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, cast

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
WINDOW: Final = 1 << 30
"""What the server may send before it hears of us: more than it ever does between two updates."""


TICK_S: Final = 0.001
STALL_S: Final = 0.01
"""From here on the sender itself stood still."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame (RFC 9113, section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def header_block(path: str, authority: str) -> bytes:
    """Headers of a call as literals without Huffman (RFC 7541): the same bytes every time."""

    def text(value: str) -> bytes:
        assert len(value) < 127
        return bytes([len(value)]) + value.encode()

    indexed = b"\x83\x86"  # :method POST, :scheme http
    named = b"\x04" + text(path) + b"\x01" + text(authority)
    content_type = b"\x0f\x10" + text("application/grpc")
    rest = [("te", "trailers"), ("grpc-timeout", "60S")]
    literals = b"".join(b"\x00" + text(name) + text(value) for name, value in rest)
    return indexed + named + content_type + literals


def _nothing() -> None:
    pass


@dataclass(slots=True)
class Outcome:
    """What became of calls."""

    latencies_s: list[float] = field(default_factory=list)
    """Of those answered, from when they were due."""
    due_at: list[float] = field(default_factory=list)
    """When each of these was due, by ``time.perf_counter``."""
    failed: int = 0
    failed_at: list[float] = field(default_factory=list)
    """When each of the failed was due, but for those of a connection that broke."""
    seconds: float = 0.0
    stalled_s: float = 0.0
    """How long the sender itself stood still; nothing was due then."""

    @property
    def answered(self) -> int:
        """Calls that came back with a message."""
        return len(self.latencies_s)

    def took(self, due: float) -> None:
        """Counts a call that has its answer now."""
        self.latencies_s.append(time.perf_counter() - due)
        self.due_at.append(due)

    def percentile_ms(self, share: float) -> float:
        """Latency that this share of the calls stayed within, milliseconds."""
        ordered = sorted(self.latencies_s)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000


class Schedule:
    """When calls are due, at a steady rate, whatever becomes of them: an iterator of moments.

    Latencies count from these, so that a server which stalls is charged for those who would have
    come meanwhile. A stall of the sender, whose core others want too, is another matter: a server
    at 70 % of what it can do can't make up for it at once, and nobody would ask that of it. Nothing
    is due in such a time, and it is counted.

    Args:
        rate: a second.
        seconds: how long, without what it stalls.
    """

    def __init__(self, *, rate: float, seconds: float) -> None:
        self.stalled_s = 0.0
        self._rate, self._total = rate, round(rate * seconds)

    async def __aiter__(self) -> AsyncIterator[float]:
        """Moments of ``time.perf_counter``, given out when they have come."""
        begun = time.perf_counter()
        made = 0
        while made < self._total:
            at = begun + made / self._rate
            behind = time.perf_counter() - at
            if behind < 0:
                # Timers count milliseconds; less would be no pause, and take the others' time.
                await asyncio.sleep(max(-behind, TICK_S))
                continue
            if behind > STALL_S:
                begun += behind
                at += behind
                self.stalled_s += behind
            made += 1
            yield at


class GrpcLoad(asyncio.Protocol):
    """One connection that makes unary calls of one method with one message.

    Args:
        path: ``/package.Service/Method``.
        authority: ``host:port``.
        message: the request, serialized.
    """

    def __init__(self, *, path: str, authority: str, message: bytes) -> None:
        block = header_block(path, authority)
        self._headers = frame(HEADERS, END_HEADERS, 0, block)
        body = b"\x00" + struct.pack(">I", len(message)) + message
        self._data = frame(DATA, END_STREAM, 0, body)
        self._size = len(body)
        self._transport: asyncio.Transport | None = None
        self._held = b""
        self._window = 65_535
        self._received = 0
        self._next_stream = 1
        # Calls under way: when each was due; those that wait for the server's window.
        self._due: dict[int, float] = {}
        self._waiting: deque[float] = deque()
        self._with_message: set[int] = set()
        self.outcome = Outcome()
        self.on_done: Callable[[], None] = _nothing

    @property
    def in_flight(self) -> int:
        """Calls that have no answer yet."""
        return len(self._due) + len(self._waiting)

    def call(self, due: float) -> None:
        """Makes a call that was due at a moment of ``time.perf_counter``."""
        self._waiting.append(due)
        self._send()

    def _send(self) -> None:
        out: list[bytes] = []
        while self._waiting and self._window >= self._size:
            stream = self._next_stream
            self._next_stream += 2
            self._window -= self._size
            self._due[stream] = self._waiting.popleft()
            number = struct.pack(">I", stream)
            out += (self._headers[:5], number, self._headers[9:])
            out += (self._data[:5], number, self._data[9:])
        if out and self._transport is not None:
            self._transport.write(b"".join(out))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Says hello."""
        self._transport = cast("asyncio.Transport", transport)
        settings = struct.pack(">HI", 4, WINDOW)
        update = struct.pack(">I", WINDOW)
        hello = PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, update)
        self._transport.write(hello)

    def connection_lost(self, exc: Exception | None) -> None:
        """The server has gone: what was under way has failed."""
        self.outcome.failed += self.in_flight
        self._due.clear()
        self._waiting.clear()
        self.on_done()

    def data_received(self, data: bytes) -> None:
        """Counts the answers in what came."""
        data = self._held + data if self._held else data
        position, size = 0, len(data)
        done = 0
        while position + 9 <= size:
            length = int.from_bytes(data[position : position + 3], "big")
            end = position + 9 + length
            if end > size:
                break
            kind, flags = data[position + 3], data[position + 4]
            stream = int.from_bytes(data[position + 5 : position + 9], "big")
            if stream:
                done += self._on_stream(kind, flags, stream, length)
            else:
                self._on_connection(kind, flags, data[position + 9 : end])
            position = end
        self._held = data[position:]
        for _ in range(done):
            self.on_done()
        self._send()

    def _on_stream(self, kind: int, flags: int, stream: int, length: int) -> bool:
        """Whether a call has ended."""
        if kind == DATA:
            self._received += length
            if length > 5:
                self._with_message.add(stream)
        ended = kind == RST_STREAM or (kind in {DATA, HEADERS} and flags & END_STREAM)
        due = self._due.pop(stream, None) if ended else None
        if due is None:
            return False
        if stream in self._with_message:
            self._with_message.discard(stream)
            self.outcome.took(due)
        else:
            self.outcome.failed += 1
            self.outcome.failed_at.append(due)
        return True

    def _on_connection(self, kind: int, flags: int, payload: bytes) -> None:
        assert self._transport is not None
        if kind == SETTINGS and not flags & ACK:
            self._transport.write(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self._transport.write(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            self._window += int.from_bytes(payload, "big")
        elif kind == GOAWAY:
            self._transport.close()
        if self._received > WINDOW // 2:
            update = struct.pack(">I", self._received)
            self._transport.write(frame(WINDOW_UPDATE, 0, 0, update))
            self._received = 0

    def close(self) -> None:
        """Ends the connection."""
        if self._transport is not None:
            self._transport.abort()


class Load:
    """Several connections that share the calls.

    Args:
        port: on loopback.
        path: ``/package.Service/Method``.
        message: the request, serialized.
        connections: how many; calls go to them in turn.
    """

    def __init__(self, port: int, *, path: str, message: bytes, connections: int = 1) -> None:
        self._port, self._path, self._message = port, path, message
        self._count = connections
        self._connections: list[GrpcLoad] = []

    async def __aenter__(self) -> Load:
        """Connects."""
        loop = asyncio.get_running_loop()
        for _ in range(self._count):
            _, connection = await loop.create_connection(
                lambda: GrpcLoad(
                    path=self._path, authority=f"127.0.0.1:{self._port}", message=self._message
                ),
                "127.0.0.1",
                self._port,
            )
            self._connections.append(connection)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnects."""
        for connection in self._connections:
            connection.close()

    @property
    def answered(self) -> int:
        """Calls of the run under way that came back with a message so far."""
        return sum(each.outcome.answered for each in self._connections)

    @property
    def failed(self) -> int:
        """Calls of the run under way that came back without one so far."""
        return sum(each.outcome.failed for each in self._connections)

    async def closed(self, *, concurrency: int, calls: int) -> Outcome:
        """``calls`` calls, ``concurrency`` at once: as many a second as the server takes."""
        left, ended = calls, asyncio.Event()
        outcomes = self._begin()

        def step(connection: GrpcLoad) -> None:
            nonlocal left
            if left > 0:
                left -= 1
                connection.call(time.perf_counter())
            elif not any(each.in_flight for each in self._connections):
                ended.set()

        for connection in self._connections:
            connection.on_done = partial(step, connection)
        begun = time.perf_counter()
        for number in range(concurrency):
            step(self._connections[number % self._count])
        await ended.wait()
        return self._merged(outcomes, time.perf_counter() - begun)

    async def open(self, *, rate: float, seconds: float) -> Outcome:
        """Calls at a steady rate whatever becomes of them; latencies count from when they were due.

        So a server that stalls is charged for those who would have come meanwhile.
        """
        outcomes = self._begin()
        for connection in self._connections:
            connection.on_done = _nothing
        begun, number = time.perf_counter(), 0
        schedule = Schedule(rate=rate, seconds=seconds)
        async for due in schedule:
            self._connections[number % self._count].call(due)
            number += 1
        deadline = time.perf_counter() + 30
        while any(each.in_flight for each in self._connections):
            if time.perf_counter() > deadline:
                raise RuntimeError("calls have no answer after 30 s")
            await asyncio.sleep(0.01)
        merged = self._merged(outcomes, time.perf_counter() - begun)
        merged.stalled_s = schedule.stalled_s
        return merged

    def _begin(self) -> Sequence[Outcome]:
        for connection in self._connections:
            connection.outcome = Outcome()
        return [connection.outcome for connection in self._connections]

    @staticmethod
    def _merged(outcomes: Sequence[Outcome], seconds: float) -> Outcome:
        merged = Outcome(seconds=seconds)
        for each in outcomes:
            merged.latencies_s += each.latencies_s
            merged.due_at += each.due_at
            merged.failed += each.failed
            merged.failed_at += each.failed_at
        return merged
