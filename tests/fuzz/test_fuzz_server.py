"""A router that listens, and clients that mean it no good: a status for them, others served."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from simcloud.concurrency import budget_statistics
from simcloud.oip.pool import OipMessage
from simcloud.oip.service import METHODS, Stub
from simcloud.oip.tensors import join_bytes, new
from simcloud.v1 import infer_pb2
from support.eventually import eventually
from support.fuzzing import mutations
from support.http2_frames import PREFACE, Setting, message, opens, request
from support.http2_frames import settings as http2_settings
from support.http2_peer import peer_of, ready_peer
from support.router import RunningRouter, model, running_router, settings_for, write_catalog
from support.scripted_endpoint import Invocation, Reply, ScriptedEndpoint, scripted_endpoint
from support.streaming_endpoint import StreamingEndpoint, part, streaming_endpoint

MIB = 1 << 20
# Of requests and of answers each; what one turn of the loop receives may come on top.
MEMORY = 12 * MIB
REFUSALS = {
    *(grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED),
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    async with scripted_endpoint() as running:
        running.default = Reply(
            200, b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}'
        )
        yield running


@pytest.fixture
async def streaming() -> AsyncIterator[StreamingEndpoint]:
    async with streaming_endpoint() as running:
        yield running


@pytest.fixture
async def router(
    endpoint: ScriptedEndpoint, streaming: StreamingEndpoint, tmp_path: Path
) -> AsyncIterator[RunningRouter]:
    plain = {"name": "det", "kind": "sagemaker", "endpoint": "det"}
    text = {"datatype": "BYTES", "shape": [1]}
    target = {"name": "text", "kind": "sagemaker_stream", "endpoint": "text"}
    catalog = write_catalog(
        tmp_path,
        model(tensor_codec="json_v2", targets=[{**plain, "url": endpoint.url}]),
        model(
            "text",
            tensor_codec="bytes",
            max_batch_size=0,
            decoupled=True,
            inputs=[{"name": "x", **text}],
            outputs=[{"name": "y", **text}],
            targets=[{**target, "url": streaming.url}],
        ),
        model(
            "wide",
            tensor_codec="bytes",
            max_batch_size=0,
            inputs=[{"name": "x", **text}],
            outputs=[{"name": "y", **text}],
            targets=[{**plain, "name": "wide", "url": endpoint.url}],
        ),
    )
    settings = settings_for(
        catalog,
        "",
        max_message_bytes=2 * MIB,
        payload_budget_bytes=4 * MIB,
        transport_memory_bytes=MEMORY,
    )
    async with running_router(settings) as running:
        yield running


def asks(name: str = "det") -> OipMessage:
    request = new("ModelInferRequest")
    request.model_name = name
    if name == "det":
        request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
        request.raw_input_contents.append(bytes(16))
    else:
        request.inputs.add(name="x", datatype="BYTES", shape=[1])
        request.raw_input_contents.append(join_bytes([b"hello"]))
    return request


async def is_served(router: RunningRouter) -> None:
    # On a connection of its own: who does not read holds up what else is on his.
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(router.address, options=options) as channel:
        response = await Stub(channel).ModelInfer(asks(), timeout=20)
    assert len(response.raw_output_contents) == 1


async def unary(channel: grpc.aio.Channel, path: str, data: bytes) -> bytes:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
    return await call(data, timeout=20)


async def streamed(channel: grpc.aio.Channel, path: str, *data: bytes) -> list[bytes]:
    call: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(path)
    return [answer async for answer in call(iter(data), timeout=20)]


def resident_bytes() -> int:
    pages = Path(f"/proc/{os.getpid()}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


async def test_no_bytes_end_more_than_their_own_call(router: RunningRouter) -> None:
    seeds = {
        "ModelInfer": bytes(asks().SerializeToString()),
        "ModelStreamInfer": bytes(asks().SerializeToString()),
        "ModelStatistics": b"\x0a\x03det",
    }
    found: dict[grpc.StatusCode, str] = {}
    for name, seed in seeds.items():
        method = METHODS[name]
        for number, data in enumerate(mutations([seed], name=f"rpc-{name}")):
            if number == 30 and "SIMCLOUD_FUZZ_SECONDS" not in os.environ:
                break
            try:
                if method.streaming:
                    await streamed(router.channel, method.path, data)
                else:
                    await unary(router.channel, method.path, data)
            except grpc.aio.AioRpcError as exc:
                found.setdefault(exc.code(), f"{name} {data.hex()}")
    assert {code: found[code] for code in found.keys() - REFUSALS} == {}
    assert grpc.StatusCode.INVALID_ARGUMENT in found
    await is_served(router)


async def test_no_frame_ends_more_than_its_own_stream(router: RunningRouter) -> None:
    opened = infer_pb2.InferRequest(open=infer_pb2.OpenInfer(model="det"))
    frame = infer_pb2.InferRequest(
        frame=infer_pb2.InferFrame(
            id="1", inline=infer_pb2.InlinePicture(data=b"png", media_type="image/png")
        )
    )
    found: dict[grpc.StatusCode, str] = {}
    path = "/simcloud.v1.InferenceRouterService/Infer"
    for number, data in enumerate(mutations([frame.SerializeToString()], name="frames")):
        if number == 30 and "SIMCLOUD_FUZZ_SECONDS" not in os.environ:
            break
        try:
            await streamed(router.channel, path, opened.SerializeToString(), data)
        except grpc.aio.AioRpcError as exc:
            found.setdefault(exc.code(), data.hex())
    assert {code: found[code] for code in found.keys() - REFUSALS} == {}
    await is_served(router)


async def test_a_message_that_unpacks_to_more_than_is_taken_is_refused(
    router: RunningRouter,
) -> None:
    request = asks()
    request.raw_input_contents[0] = bytes(64 * MIB)
    options = (("grpc.max_send_message_length", -1),)
    async with grpc.aio.insecure_channel(
        router.address, options=options, compression=grpc.Compression.Gzip
    ) as channel:
        method = METHODS["ModelInfer"]
        packed = request.SerializeToString()
        assert len(gzip.compress(packed)) < 128 * 1024
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await unary(channel, method.path, packed)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await is_served(router)


async def test_a_frame_of_2_gib_is_refused_when_it_is_claimed(router: RunningRouter) -> None:
    host, _, port = router.address.rpartition(":")
    before = resident_bytes()
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        path = METHODS["ModelInfer"].path.encode()
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame_of(4, 0, 0, b""))
        fields = {
            b":method": b"POST",
            b":scheme": b"http",
            b":path": path,
            b":authority": b"router",
            b"content-type": b"application/grpc",
            b"te": b"trailers",
        }
        block = b"".join(literal(name, value) for name, value in fields.items())
        writer.write(frame_of(1, 0x4, 1, block))
        writer.write(frame_of(0, 0, 1, struct.pack(">BI", 0, 2**31 - 1) + bytes(1000)))
        await writer.drain()
        # Trailers, or a reset: the stream ends though its message never came.
        async with asyncio.timeout(20):
            while True:
                head = await reader.readexactly(9)
                size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
                number = int.from_bytes(head[5:], "big")
                await reader.readexactly(size)
                if number == 1 and (kind == 3 or (kind == 1 and flags & 0x1)):
                    break
    finally:
        writer.close()
    assert resident_bytes() - before < 64 * MIB
    await is_served(router)


def frame_of(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """An HTTP/2 frame (RFC 9113 section 4.1)."""
    return (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    )


def literal(name: bytes, value: bytes) -> bytes:
    """A header field without indexing, without Huffman (RFC 7541 section 6.2.2)."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


async def test_who_does_not_read_holds_up_only_itself(
    router: RunningRouter, streaming: StreamingEndpoint
) -> None:
    async def endless(_: Invocation) -> AsyncIterator[bytes]:
        while True:
            yield part(bytes(64 * 1024))

    streaming.body = endless
    before = resident_bytes()
    call = router.oip.ModelStreamInfer(iter([asks("text")]), timeout=60)
    await call.read()
    # What is sent stops where buffers end: the socket's, gRPC's window, a part or two of ours.
    last = -1

    async def has_stopped() -> bool:
        nonlocal last
        await is_served(router)
        stopped = streaming.sent_bytes == last
        last = streaming.sent_bytes
        return stopped

    await eventually(has_stopped)
    assert streaming.sent_bytes < 64 * MIB
    assert resident_bytes() - before < 96 * MIB
    call.cancel()
    await eventually(lambda: streaming.disconnected == 1)


def held(name: str) -> int:
    return sum(each.in_use for each in budget_statistics() if each.name == name)


async def test_requests_that_never_end_take_no_more_than_there_is(router: RunningRouter) -> None:
    path, before = METHODS["ModelInfer"].path.encode(), resident_bytes()
    short = message(bytes(2 * MIB - 1000))[:-100]
    async with contextlib.AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(ready_peer(router.address)) for _ in range(4)]
        for _ in range(20):
            for peer in peers:
                stream = peer.next_stream()
                await peer.send(opens(stream, path))
                await peer.pours(stream, short, until_full=True)
                assert held("http2_received") <= MEMORY + 2 * MIB
        for peer in peers:
            for stream in range(1, 40, 2):
                # Windows that came meanwhile, if the call has not ended.
                await peer.pours(stream, short[: peer.room(stream)], until_full=True)
        await is_served(router)
        assert 0 < held("http2_received") <= MEMORY + 2 * MIB
        assert resident_bytes() - before < 64 * MIB
    await eventually(lambda: held("http2_received") == 0)
    await is_served(router)


async def test_answers_that_nobody_takes_take_no_more_than_there_is(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    path, before = METHODS["ModelInfer"].path.encode(), resident_bytes()
    plain, endpoint.default = endpoint.default, Reply(200, bytes(MIB))
    closed = PREFACE + http2_settings({Setting.INITIAL_WINDOW_SIZE: 0})
    asked = bytes(asks("wide").SerializeToString())
    async with contextlib.AsyncExitStack() as stack:
        peers = [
            await stack.enter_async_context(peer_of(router.address, greeting=closed))
            for _ in range(4)
        ]
        for number in range(1, 9):
            for peer in peers:
                await peer.send(request(peer.next_stream(), asked, path))
            await eventually(lambda number=number: len(endpoint.seen) == number * len(peers))  # type: ignore[misc]
            assert held("http2_unsent") <= MEMORY + 4 * MIB
        await eventually(lambda: MEMORY // 2 < held("http2_unsent") <= MEMORY)
        endpoint.default = plain
        await is_served(router)
        assert resident_bytes() - before < 80 * MIB
    await eventually(lambda: held("http2_unsent") == 0)
    await is_served(router)


async def test_a_client_that_stops_within_a_request_holds_nothing(router: RunningRouter) -> None:
    host, _, port = router.address.rpartition(":")
    sockets = [socket.create_connection((host, int(port))) for _ in range(20)]
    try:
        for number, each in enumerate(sockets):
            each.sendall((b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(40))[: 3 * number])
        await is_served(router)
    finally:
        for each in sockets:
            each.close()
    await is_served(router)
