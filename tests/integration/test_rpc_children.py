"""Processes that are started beside a busy gRPC, as the generator's look at a scene is."""

from __future__ import annotations

import subprocess
import sys

# A process of its own: gRPC reads how it takes fork() once, when it is first imported.
_BUSY = """
import asyncio, sys
from simcloud.rpc.channel import connect
import grpc, uvloop

async def echo(request, context):
    return request

async def main():
    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("echo.Echo", {"Echo": method}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with connect(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/echo.Echo/Echo")

        async def calls():
            while True:
                await call(b"x")

        busy = asyncio.create_task(calls())
        for _ in range(10):
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-S", "-c", "", stdin=asyncio.subprocess.PIPE
            )
            await child.communicate(b"")
            assert child.returncode == 0, child.returncode
        busy.cancel()
    await server.stop(0)

uvloop.run(main())
"""


def test_grpc_does_nothing_in_a_child_before_it_is_another_program() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _BUSY], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    # It says whenever it takes part in a fork(), or would have.
    assert "fork" not in done.stderr
