"""Processes around the router while it is measured: an endpoint, and two yardsticks.

``python peers.py endpoint|echo|caller …``, each in a process of its own so that it can be pinned
and its CPU time read from outside. Each prints one JSON line with its port when it listens.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import sys
import time
from collections.abc import Coroutine
from typing import Any

import aiohttp
import grpc
import grpc.aio
import uvloop
from aiohttp import web
from yarl import URL

from simcloud.oip.service import METHODS
from simcloud_inference_router.targets.sigv4 import Credentials, SigV4Signer, sha256_hex

TRITON = "application/vnd.sagemaker-triton.binary+json"
FLOATS = 256
"""Elements of the tensor each way: 1 KiB."""
MODEL = "bench"
KEYS = Credentials("AKIDBENCH", "secret")


def triton_answer() -> tuple[bytes, str]:
    """Body and content type of a tensor answer of 1 KiB."""
    entry = {
        "name": "y",
        "datatype": "FP32",
        "shape": [1, FLOATS],
        "parameters": {"binary_data_size": 4 * FLOATS},
    }
    header = json.dumps({"outputs": [entry]}, separators=(",", ":")).encode()
    return header + struct.pack("<f", 1.0) * FLOATS, f"{TRITON};json-header-size={len(header)}"


async def serve_endpoint() -> None:
    """An endpoint that answers at once: tensors with a tensor, anything else with JSON."""
    tensor, tensor_type = triton_answer()
    document = json.dumps({"detections": [{"label": "cat", "score": 0.5}] * 16}).encode()

    async def answer(request: web.BaseRequest) -> web.Response:
        await request.read()
        if request.headers["content-type"].startswith(TRITON):
            return web.Response(body=tensor, headers={"content-type": tensor_type})
        return web.Response(body=document, headers={"content-type": "application/json"})

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    _announce(int(runner.addresses[0][1]))
    await asyncio.Event().wait()


async def serve_echo() -> None:
    """A bare grpc.aio server: ModelInfer with the least that can be done, no interceptor."""
    infer, stream = METHODS["ModelInfer"], METHODS["ModelStreamInfer"]

    def answer(request: Any) -> Any:
        response = infer.response(model_name=request.model_name, id=request.id)
        response.outputs.add(name="y", datatype="FP32", shape=[1, FLOATS])
        response.raw_output_contents.append(request.raw_input_contents[0])
        return response

    async def one(request: Any, _context: Any) -> Any:
        return answer(request)

    async def many(requests: Any, context: Any) -> None:
        async for request in requests:
            response = stream.response()
            response.infer_response.CopyFrom(answer(request))
            await context.write(response)

    server = grpc.aio.server()
    server.add_registered_method_handlers(
        "inference.GRPCInferenceService",
        {
            "ModelInfer": grpc.unary_unary_rpc_method_handler(
                one, infer.request.FromString, infer.response.SerializeToString
            ),
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(
                many, stream.request.FromString, stream.response.SerializeToString
            ),
        },
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    _announce(port)
    await asyncio.Event().wait()


async def call(url: str, requests: int, concurrency: int) -> None:
    """Signs and posts ``requests`` bodies of 1 KiB; prints its CPU milliseconds a call."""
    target = URL(f"{url}/endpoints/{MODEL}/invocations", encoded=True)
    signer = SigV4Signer(region="us-east-1")
    body = struct.pack("<f", 1.0) * FLOATS
    left = requests

    async def worker(session: aiohttp.ClientSession) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            headers = {
                "host": f"{target.host}:{target.port}",
                "content-type": "application/octet-stream",
                "accept": "application/json",
            }
            headers |= signer.sign(
                credentials=KEYS,
                method="POST",
                path=target.raw_path,
                headers=headers,
                body_sha256=sha256_hex(body),
                now_s=time.time(),
            )
            async with session.post(target, data=body, headers=headers) as response:
                await response.read()

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        await worker_group(session, worker, concurrency)
        left, begun = requests, time.process_time()
        await worker_group(session, worker, concurrency)
        used_s = time.process_time() - begun
    sys.stdout.write(json.dumps({"cpu_ms": used_s * 1000 / requests}) + "\n")


async def worker_group(session: aiohttp.ClientSession, worker: Any, concurrency: int) -> None:
    """Runs ``concurrency`` workers to their end."""
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker(session))


def _announce(port: int) -> None:
    sys.stdout.write(json.dumps({"port": port}) + "\n")
    sys.stdout.flush()


def _work(arguments: argparse.Namespace) -> Coroutine[Any, Any, None]:
    match arguments.role:
        case "endpoint":
            return serve_endpoint()
        case "echo":
            return serve_echo()
        case _:
            return call(arguments.url, arguments.requests, arguments.concurrency)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("endpoint", "echo", "caller"))
    parser.add_argument("--url", default="")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=8)
    uvloop.run(_work(parser.parse_args()))
