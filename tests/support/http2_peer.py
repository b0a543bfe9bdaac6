"""A client of one HTTP/2 connection that sends what it is told to, right or wrong."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from support.http2_frames import (
    ACK,
    DEFAULT_WINDOW,
    END_HEADERS,
    FRAME_BYTES,
    MOST,
    PREFACE,
    PRIORITY,
    Frame,
    Kind,
    Setting,
    data,
    frame,
    ping,
    request,
    settings,
    window,
)
from support.http2_hpack import Decoder, Field

# How long a server has for any answer, seconds: far longer than it takes on a busy machine.
_PATIENCE_S: Final = 20.0
_GREETING: Final = PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: 1 << 24})


class NoAnswer(AssertionError):
    """The connection ended, or nothing came in time."""


@dataclass(slots=True)
class Answer:
    """What a server has sent on one stream."""

    blocks: list[list[Field]] = field(default_factory=list)
    """Fields of its HEADERS, trailers last."""
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    """By END_STREAM."""
    code: int | None = None
    """Of RST_STREAM."""

    def value(self, name: bytes) -> bytes | None:
        """A field's value, of the last block that has it."""
        for fields in reversed(self.blocks):
            for key, value in fields:
                if key == name:
                    return value
        return None

    @property
    def grpc_status(self) -> int | None:
        """Its ``grpc-status``."""
        status = self.value(b"grpc-status")
        return None if status is None else int(status)

    @property
    def grpc_message(self) -> str:
        """Its ``grpc-message``, decoded."""
        return unquote_to_bytes(self.value(b"grpc-message") or b"").decode()

    @property
    def messages(self) -> list[bytes]:
        """Its whole messages."""
        found, at = [], 0
        while at + 5 <= len(self.body):
            size = struct.unpack_from(">I", self.body, at + 1)[0]
            found.append(bytes(self.body[at + 5 : at + 5 + size]))
            at += 5 + size
        return found


class Peer:
    """One connection. What comes is kept by stream; SETTINGS and PING are answered."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._decoder = Decoder()
        self._block = b""
        self._next_stream = 1
        self.answers: dict[int, Answer] = {}
        self.settings: dict[int, int] = {}
        """What the server has set."""
        self.goaway: Frame | None = None
        self.pongs: list[bytes] = []
        self.settings_acks = 0
        self.windows: dict[int, int] = {}
        """What WINDOW_UPDATEs have added, by stream."""
        self.gives_windows = True
        """Whether what was read may be sent again at once."""
        self.answers_pings = True
        self.closed = False
        self._poured: dict[int, int] = {}

    async def send(self, *parts: bytes) -> None:
        """Sends; what can't be sent any more is left, since what was answered is still there."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(b"".join(parts))
            await self._writer.drain()

    async def is_taken(self, raw: bytes) -> bool:
        """Sends; returns when the system has taken it, whether the connection lasts."""
        if self._writer.transport.is_closing():
            return False
        try:
            self._writer.write(raw)
            await self._writer.drain()
        except ConnectionError:
            return False
        return not self.closed

    async def send_slowly(self, raw: bytes, step: int = 1) -> None:
        """Sends so many octets a packet, each of which the server reads before the next."""
        for at in range(0, len(raw), step):
            await self.send(raw[at : at + step])
            await asyncio.sleep(0)

    def next_stream(self) -> int:
        """A stream that was not used yet."""
        self._next_stream += 2
        return self._next_stream - 2

    @property
    def table_limit(self) -> int:
        """Size of the server's dynamic table, as it has said."""
        return self._decoder.limit

    def skip_to(self, stream: int) -> None:
        """Takes this one for the next stream."""
        self._next_stream = stream

    async def receive(self) -> Frame | None:
        """The next frame; None when the server has closed.

        Raises:
            NoAnswer: nothing came in time.
        """
        try:
            async with asyncio.timeout(_PATIENCE_S):
                head = await self._reader.readexactly(9)
                size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
                payload = await self._reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            # As clients do; the server waits a while for it.
            self.closed = True
            self.close()
            return None
        except TimeoutError as error:
            raise NoAnswer("nothing came") from error
        found = Frame(kind, flags, int.from_bytes(head[5:], "big") & MOST, payload)
        await self._take(found)
        return found

    async def _take(self, found: Frame) -> None:
        match found.kind:
            case Kind.SETTINGS if found.flags & ACK:
                self.settings_acks += 1
            case Kind.SETTINGS:
                self.settings |= found.settings
                await self.send(frame(Kind.SETTINGS, ACK, 0))
            case Kind.PING if found.flags & ACK:
                self.pongs.append(found.payload)
            case Kind.PING:
                if self.answers_pings:
                    await self.send(ping(found.payload, ack=True))
            case Kind.GOAWAY:
                self.goaway = found
            case Kind.WINDOW_UPDATE:
                self.windows[found.stream] = self.windows.get(found.stream, 0) + found.number
            case _:
                await self._take_of_stream(found)

    async def _take_of_stream(self, found: Frame) -> None:
        answer = self.answers.setdefault(found.stream, Answer())
        match found.kind:
            case Kind.HEADERS | Kind.CONTINUATION:
                self._block += found.payload[5:] if found.flags & PRIORITY else found.payload
                if found.flags & END_HEADERS:
                    answer.blocks.append(self._decoder.fields(self._block))
                    self._block = b""
            case Kind.DATA:
                answer.body += found.payload
                if self.gives_windows and found.payload:
                    await self.send(
                        window(0, len(found.payload)), window(found.stream, len(found.payload))
                    )
            case Kind.RST_STREAM:
                answer.code = found.number
        answer.ended |= found.ends_stream

    async def until(self, condition: Callable[[], bool]) -> None:
        """Reads until something is so.

        Raises:
            NoAnswer: the connection ended before.
        """
        while not condition():
            if await self.receive() is None:
                raise NoAnswer(f"the server closed: {self.goaway}")

    async def answer(self, stream: int) -> Answer:
        """What the server has answered when it has ended the stream, or reset it."""
        answer = self.answers.setdefault(stream, Answer())
        await self.until(lambda: answer.ended or answer.code is not None)
        return answer

    async def asks(self, payload: bytes = b"well?") -> None:
        """Has a request answered, on a stream of its own.

        Raises:
            AssertionError: it was not.
        """
        stream = self.next_stream()
        await self.send(request(stream, payload))
        self.counts(stream, len(payload) + 5)
        answer = await self.answer(stream)
        assert (answer.grpc_status, answer.messages) == (0, [payload]), answer

    async def pinged(self) -> None:
        """Returns when the server has read all that was sent before."""
        payload = struct.pack(">Q", 1 << 63 | len(self.pongs))
        await self.send(ping(payload))
        await self.until(lambda: payload in self.pongs)

    async def ends(self) -> int | None:
        """Reads until the server has closed; the code that it gave, if it gave one."""
        while await self.receive() is not None:
            pass
        return None if self.goaway is None else int.from_bytes(self.goaway.payload[4:8], "big")

    def room(self, stream: int) -> int:
        """What may be sent of a stream's DATA now (section 6.9)."""
        own = self.settings.get(Setting.INITIAL_WINDOW_SIZE, DEFAULT_WINDOW)
        of_stream = own + self.windows.get(stream, 0) - self._poured.get(stream, 0)
        of_all = DEFAULT_WINDOW + self.windows.get(0, 0) - self._poured.get(0, 0)
        return min(of_stream, of_all)

    async def pours(self, stream: int, payload: bytes, *, until_full: bool = False) -> int:
        """Sends DATA as windows allow, and waits for them as long as the stream lasts.

        Args:
            stream: whose.
            payload: all of it.
            until_full: returns when there is no more room, instead of waiting for it.

        Returns:
            How much was sent.
        """
        at = 0
        answer = self.answers.setdefault(stream, Answer())
        while at < len(payload):
            size = min(self.room(stream), FRAME_BYTES, len(payload) - at)
            if size <= 0:
                if until_full:
                    return at
                await self.until(
                    lambda: self.room(stream) > 0 or answer.ended or answer.code is not None
                )
                if self.room(stream) <= 0:
                    return at
                continue
            await self.send(data(stream, payload[at : at + size]))
            self.counts(stream, size)
            at += size
        return at

    def counts(self, stream: int, size: int) -> None:
        """Counts DATA against the windows that was sent otherwise."""
        for each in (0, stream):
            self._poured[each] = self._poured.get(each, 0) + size

    async def drains(self) -> None:
        """Says that nothing more comes, and reads whatever it is until the server has closed.

        Raises:
            NoAnswer: it has not, in time.
        """
        with contextlib.suppress(OSError):
            self._writer.write_eof()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while await self._reader.read(1 << 16):
                    pass
        except ConnectionError:
            pass
        except TimeoutError as error:
            raise NoAnswer("the server did not close") from error

    def close(self) -> None:
        """Closes without a word."""
        self._writer.close()

    def abort(self) -> None:
        """Closes by a TCP reset."""
        self._writer.transport.abort()


async def opened(address: str, *, greeting: bytes = _GREETING) -> Peer:
    """A peer that has sent its preface, or what it is told to send in its place."""
    if address.startswith("unix:"):
        streams = await asyncio.open_unix_connection(address.removeprefix("unix:"))
    else:
        host, _, port = address.rpartition(":")
        streams = await asyncio.open_connection(host, int(port))
    peer = Peer(*streams)
    await peer.send(greeting)
    return peer


@contextlib.asynccontextmanager
async def peer_of(address: str, *, greeting: bytes = _GREETING) -> AsyncIterator[Peer]:
    """A peer for the block; closed without a word in the end."""
    peer = await opened(address, greeting=greeting)
    try:
        yield peer
    finally:
        peer.close()


@contextlib.asynccontextmanager
async def ready_peer(address: str) -> AsyncIterator[Peer]:
    """A peer whose SETTINGS and whose server's SETTINGS have been taken, with a wide window."""
    async with peer_of(address) as peer:
        await peer.send(window(0, MOST - DEFAULT_WINDOW))
        await peer.until(lambda: peer.settings_acks == 1 and bool(peer.settings))
        yield peer
