"""Yardsticks beside the router: its two halves, and the same proxy made of stock parts.

``python peers.py echo|caller|sdk …``, each in a process of its own so that it can be pinned and its
CPU time read from outside. Servers print one JSON line with their port when they listen.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import grpc
import grpc.aio
import uvloop
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from endpoint import FLOATS, MODEL, TRITON
from yarl import URL

from simcloud.aws.sigv4 import Credentials, SigV4Signer, sha256_hex
from simcloud.oip.service import METHODS
from simcloud_inference_router.targets.base import Failure
from simcloud_inference_router.targets.target_pool import open_target_pool

KEYS: Final = Credentials("AKIDBENCH", "secret")
INFER, STREAM = METHODS["ModelInfer"], METHODS["ModelStreamInfer"]


def answer(request: Any, raw: bytes) -> Any:
    """A ModelInferResponse with one tensor."""
    response = INFER.response(model_name=request.model_name, id=request.id)
    response.outputs.add(name="y", datatype="FP32", shape=[1, FLOATS])
    response.raw_output_contents.append(raw)
    return response


async def serve(infer: Callable[[Any], Awaitable[Any]]) -> None:
    """A bare grpc.aio server without interceptors, for ever."""

    async def one(request: Any, _context: Any) -> Any:
        return await infer(request)

    async def many(requests: Any, context: Any) -> None:
        async for request in requests:
            response = STREAM.response()
            response.infer_response.CopyFrom(await infer(request))
            await context.write(response)

    server = grpc.aio.server()
    server.add_registered_method_handlers(
        "inference.GRPCInferenceService",
        {
            "ModelInfer": grpc.unary_unary_rpc_method_handler(
                one, INFER.request.FromString, INFER.response.SerializeToString
            ),
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(
                many, STREAM.request.FromString, STREAM.response.SerializeToString
            ),
        },
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(json.dumps({"port": port}) + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


async def serve_echo() -> None:
    """Parses, makes an answer, sends it: what no router can do without."""

    async def infer(request: Any) -> Any:
        return answer(request, request.raw_input_contents[0])

    await serve(infer)


async def serve_sdk(url: str) -> None:
    """The proxy that one would write first: grpc.aio in, the SDK's call out, nothing between.

    No limit, no queue, no retry, no metrics, no log.
    """
    config = AioConfig(
        retries={"total_max_attempts": 1}, max_pool_connections=64, parameter_validation=False
    )
    async with get_session().create_client(
        "sagemaker-runtime",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id=KEYS.access_key_id,
        aws_secret_access_key=KEYS.secret_access_key,
        config=config,
    ) as client:

        async def infer(request: Any) -> Any:
            tensor = request.inputs[0]
            raw = request.raw_input_contents[0]
            entry = {
                "name": tensor.name,
                "shape": list(tensor.shape),
                "datatype": tensor.datatype,
                "parameters": {"binary_data_size": len(raw)},
            }
            # Without blanks, as the router writes it: the endpoint looks for it.
            document = {"inputs": [entry], "id": request.id}
            header = json.dumps(document, separators=(",", ":")).encode()
            called = await client.invoke_endpoint(
                EndpointName=MODEL,
                Body=header + raw,
                ContentType=f"{TRITON};json-header-size={len(header)}",
                Accept=TRITON,
            )
            body = await called["Body"].read()
            size = int(called["ContentType"].partition("json-header-size=")[2])
            json.loads(body[:size])
            return answer(request, body[size:])

        await serve(infer)


async def call(url: str, requests: int, concurrency: int) -> None:
    """Signs and posts ``requests`` bodies of 1 KiB; prints its CPU milliseconds a call."""
    target = URL(f"{url}/endpoints/{MODEL}/invocations", encoded=True)
    signer = SigV4Signer(region="us-east-1", service="sagemaker")
    body = struct.pack("<f", 1.0) * FLOATS
    left = requests

    async with open_target_pool(
        connect_timeout_s=5, keepalive_s=12, max_answer_bytes=1 << 20
    ) as pool:

        async def worker() -> None:
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
                outcome = await pool.post(
                    target=MODEL, url=target, headers=headers, body=body, timeout_s=30
                )
                if isinstance(outcome, Failure):
                    raise outcome.error

        async def workers() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(worker())

        await workers()
        left, begun = requests, time.process_time()
        await workers()
        used_s = time.process_time() - begun
    sys.stdout.write(json.dumps({"cpu_ms": used_s * 1000 / requests}) + "\n")


def _work(arguments: argparse.Namespace) -> Coroutine[Any, Any, None]:
    match arguments.role:
        case "echo":
            return serve_echo()
        case "sdk":
            return serve_sdk(arguments.url)
        case _:
            return call(arguments.url, arguments.requests, arguments.concurrency)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("echo", "sdk", "caller"))
    parser.add_argument("--url", default="")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=8)
    uvloop.run(_work(parser.parse_args()))
