"""SIGTERM under load: what a router's targets were asked for is answered, all of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
import pytest

from simcloud.client.router import Frame, Picture, RouterClient
from simcloud.errors import NotReady, SimcloudError
from simcloud.oip.service import Stub
from simcloud.rpc.status import error_from_rpc
from support.eventually import eventually
from support.router import model, row_request, write_catalog
from support.scripted_endpoint import Invocation, Reply, ScriptedEndpoint, scripted_endpoint

PREFIX = "SIMCLOUD_INFERENCE_ROUTER_"
ROW = b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}'
# Both long enough to keep sockets full.
PICTURE = Picture("image/png", bytes(200_000))
FOUND = b'{"detections":[]' + b" " * 400_000 + b"}"
UNARY_CALLERS, ROW_STREAMS, PICTURE_STREAMS = 12, 4, 2
UNDER_WAY = 8
# Each caller on a connection of its own, as callers of several machines are.
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)


@dataclass(slots=True)
class Load:
    """Callers that go on until they are refused, and what they were told."""

    address: str
    answers: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    """By status; what is not UNAVAILABLE with its words."""

    async def unary(self) -> None:
        async with grpc.aio.insecure_channel(self.address, options=OWN_CONNECTION) as channel:
            stub = Stub(channel)
            try:
                while True:
                    answer = await stub.ModelInfer(row_request("rows"), timeout=30)
                    assert len(answer.raw_output_contents) == 1
                    self.answers += 1
            except grpc.aio.AioRpcError as refused:
                self._refused(refused)

    async def rows(self) -> None:
        window = asyncio.Semaphore(UNDER_WAY)

        async def requests() -> AsyncIterator[object]:
            while True:
                await window.acquire()
                yield row_request("rows")

        async with grpc.aio.insecure_channel(self.address, options=OWN_CONNECTION) as channel:
            try:
                async for answer in Stub(channel).ModelStreamInfer(requests(), timeout=60):
                    assert not answer.error_message
                    self.answers += 1
                    window.release()
            except grpc.aio.AioRpcError as refused:
                self._refused(refused)

    async def pictures(self) -> None:
        async def frames() -> AsyncIterator[Frame]:
            number = 0
            while True:
                yield Frame(str(number), PICTURE)
                number += 1

        try:
            async with RouterClient.connect(self.address) as client:
                async for answer in client.infer_frames("pictures", frames()):
                    assert answer.ok, answer.message
                    self.answers += 1
        except NotReady:
            self.refusals["UNAVAILABLE"] += 1
        except SimcloudError as error:
            self.refusals[f"{type(error).__name__}: {error}"] += 1

    def _refused(self, error: grpc.aio.AioRpcError) -> None:
        refused = isinstance(error_from_rpc(error), NotReady)
        self.refusals["UNAVAILABLE" if refused else f"{error.code()}: {error.details()}"] += 1


def start(folder: Path, endpoint_url: str, processes: int) -> subprocess.Popen[bytes]:
    rows = model("rows", tensor_codec="json_v2")
    pictures = model("pictures", tensor_codec=None, inputs=[], outputs=[], max_batch_size=0)
    environment = {
        "CATALOG": str(write_catalog(folder, rows, pictures)),
        "SAGEMAKER_ENDPOINT_URL": endpoint_url,
        "SAGEMAKER__ACCESS_KEY_ID": "AKID",
        "SAGEMAKER__SECRET_ACCESS_KEY": "secret",
        "LIMITER__START": "64",
        "PORT_FILE": str(folder / "ports.json"),
        "PROCESSES": str(processes),
    }
    kept = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    with (folder / "log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "simcloud_inference_router", "--listen", "127.0.0.1:0"],
            env={**kept, **{PREFIX + key: value for key, value in environment.items()}},
            stdout=log,
            stderr=log,
        )


@asynccontextmanager
async def router(
    folder: Path, endpoint_url: str, processes: int
) -> AsyncIterator[tuple[subprocess.Popen[bytes], str]]:
    process = start(folder, endpoint_url, processes)
    ports = folder / "ports.json"
    try:
        await eventually(lambda: ports.exists() or process.poll() is not None, within_s=60)
        yield process, f"127.0.0.1:{json.loads(ports.read_text())['grpc']}"
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)


def replies(invocation: Invocation) -> Reply:
    return Reply(200, ROW) if "/rows/" in invocation.path else Reply(200, FOUND)


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_router_that_is_stopped_under_load_loses_no_answer(
    tmp_path: Path, processes: int
) -> None:
    async with (
        scripted_endpoint() as endpoint,
        router(tmp_path, endpoint.url, processes) as (process, address),
        asyncio.TaskGroup() as group,
    ):
        endpoint.respond = replies
        load = Load(address)
        for make, number in (
            (load.unary, UNARY_CALLERS),
            (load.rows, ROW_STREAMS),
            (load.pictures, PICTURE_STREAMS),
        ):
            for _ in range(number):
                group.create_task(make())
        await eventually(lambda: load.answers >= 100, what="all is busy")
        await stopped_at_its_busiest(endpoint, process, tmp_path / "log", processes)
        callers = UNARY_CALLERS + ROW_STREAMS + PICTURE_STREAMS
        await eventually(lambda: load.refusals.total() == callers, what="every caller is refused")
        assert await asyncio.to_thread(process.wait, 30) == 0
    assert load.refusals == {"UNAVAILABLE": callers}
    assert load.answers == len(endpoint.seen)
    assert endpoint.disconnected == 0


async def stopped_at_its_busiest(
    endpoint: ScriptedEndpoint, process: subprocess.Popen[bytes], log: Path, processes: int
) -> None:
    """With a request of every caller at the endpoint, answered once the router is stopping."""
    endpoint.hold = asyncio.Event()
    least = UNARY_CALLERS + ROW_STREAMS + PICTURE_STREAMS
    await eventually(lambda: endpoint.in_flight >= least, what="requests are under way")
    process.send_signal(signal.SIGTERM)
    await eventually(
        lambda: log.read_text().count('"event": "stopping"') == processes, what="it is stopping"
    )
    endpoint.hold.set()
