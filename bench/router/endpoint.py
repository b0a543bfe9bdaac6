"""An endpoint that costs next to nothing: answers invocations with bytes made once.

    python endpoint.py [--slots 4 --service-ms 20 --queue 16]

Without slots it answers at once. With them it serves that many at a time, each for so long, keeps a
bounded queue, and refuses the rest as SageMaker does. Prints its port as one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import sys
from collections import deque
from typing import Final, cast

import uvloop

TRITON: Final = "application/vnd.sagemaker-triton.binary+json"
FLOATS: Final = 256
"""Elements of the tensor each way: 1 KiB."""
MODEL: Final = "bench"


def http(status: str, content_type: str, body: bytes, *more: str) -> bytes:
    """An answer with the headers that the runtime sends."""
    lines = [
        f"HTTP/1.1 {status}",
        "x-amzn-RequestId: 7b0d4f1e-5f4c-4a8f-9a51-6a5b8a3f9d10",
        "x-Amzn-Invoked-Production-Variant: AllTraffic",
        "Date: Sat, 21 Nov 2026 16:00:00 GMT",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        *more,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def tensor_answer(rows: int) -> bytes:
    """A tensor of so many rows of 1 KiB in Triton's binary form."""
    entry = {
        "name": "y",
        "datatype": "FP32",
        "shape": [rows, FLOATS],
        "parameters": {"binary_data_size": 4 * FLOATS * rows},
    }
    header = json.dumps({"outputs": [entry]}, separators=(",", ":")).encode()
    body = header + struct.pack("<f", 1.0) * FLOATS * rows
    return http("200 OK", f"{TRITON};json-header-size={len(header)}", body)


MAX_ROWS: Final = 32
TENSORS: Final = [tensor_answer(rows) for rows in range(MAX_ROWS + 1)]
"""By rows."""
DETECTIONS: Final = http(
    "200 OK",
    "application/json",
    json.dumps({"detections": [{"label": "cat", "score": 0.5}] * 16}).encode(),
)
TEXT: Final = http("200 OK", "application/json", b'{"generated_text": "some words"}')
"""What a language model behind the endpoint ``text`` says."""
BUSY: Final = http(
    "429 Too Many Requests",
    "application/json",
    b'{"Message":"too much"}',
    "x-amzn-ErrorType: ThrottlingException",
)


class Server:
    """The one server that stands behind all connections: slots and a queue.

    Args:
        slots: served at a time; 0: any number, at once.
        service_s: how long each takes.
        queue: how many wait at most.
    """

    def __init__(self, *, slots: int, service_s: float, queue: int) -> None:
        self._slots, self._service_s, self._queue = slots, service_s, queue
        self._busy = 0
        self._waiting: deque[tuple[asyncio.Transport, bytes]] = deque()

    def take(self, transport: asyncio.Transport, answer: bytes) -> None:
        """Serves one request."""
        if not self._slots:
            transport.write(answer)
        elif self._busy < self._slots:
            self._begin(transport, answer)
        elif len(self._waiting) < self._queue:
            self._waiting.append((transport, answer))
        else:
            transport.write(BUSY)

    def _begin(self, transport: asyncio.Transport, answer: bytes) -> None:
        self._busy += 1
        loop = asyncio.get_running_loop()
        loop.call_later(self._service_s, self._end, transport, answer)

    def _end(self, transport: asyncio.Transport, answer: bytes) -> None:
        self._busy -= 1
        if not transport.is_closing():
            transport.write(answer)
        while self._waiting and self._busy < self._slots:
            self._begin(*self._waiting.popleft())


class Connection(asyncio.Protocol):
    """Requests of one connection.

    Args:
        server: who serves them.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Serves what is complete."""
        assert self._transport is not None
        held = self._held + data
        while (end := held.find(b"\r\n\r\n")) >= 0:
            head = held[:end].lower()
            at = head.index(b"content-length: ") + 16
            stop = head.find(b"\r", at)
            size = int(head[at : stop if stop > 0 else end])
            if len(held) < end + 4 + size:
                break
            answer = TEXT if b"/endpoints/text/" in head else DETECTIONS
            if TRITON.encode() in head:
                answer = TENSORS[_rows(held, end + 4)]
            self._server.take(self._transport, answer)
            held = held[end + 4 + size :]
        self._held = held


def _rows(held: bytes, body: int) -> int:
    """Rows of a request's first tensor."""
    at = held.index(b'"shape":[', body) + 9
    return int(held[at : held.index(b",", at)])


async def serve(arguments: argparse.Namespace) -> None:
    """Listens for ever."""
    server = Server(
        slots=arguments.slots, service_s=arguments.service_ms / 1000, queue=arguments.queue
    )
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: Connection(server), "127.0.0.1", 0)
    sys.stdout.write(json.dumps({"port": listening.sockets[0].getsockname()[1]}) + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--slots", type=int, default=0)
    parser.add_argument("--service-ms", type=float, default=20)
    parser.add_argument("--queue", type=int, default=16)
    uvloop.run(serve(parser.parse_args()))
