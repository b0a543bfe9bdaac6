from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from simcloud.client.router import Frame, Picture, RouterClient
from simcloud.errors import NotReady
from support.eventually import eventually
from support.router import model, write_catalog
from support.scripted_endpoint import scripted_endpoint

PREFIX = "SIMCLOUD_INFERENCE_ROUTER_"


@contextmanager
def process(folder: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """``python -m simcloud_inference_router`` as whoever deploys it starts it."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    with (folder / "log").open("w") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", "simcloud_inference_router", *arguments],
            env={**kept, **environment},
            stdout=log,
            stderr=log,
            text=True,
        )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


async def ports(file: Path) -> dict[str, int]:
    text = await eventually(lambda: _text(file), within_s=30, what="the router listens")
    found: dict[str, int] = json.loads(text)
    return found


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


async def test_sigterm_answers_what_was_taken_and_exits_0(tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path, model())
    port_file = tmp_path / "ports.json"
    async with scripted_endpoint() as endpoint:
        endpoint.hold = asyncio.Event()
        arguments = ("--catalog", str(catalog), "--port-file", str(port_file))
        environment = {
            PREFIX + "METRICS_LISTEN": "127.0.0.1:0",
            PREFIX + "SAGEMAKER_ENDPOINT_URL": endpoint.url,
            PREFIX + "SAGEMAKER__ACCESS_KEY_ID": "AKID",
            PREFIX + "SAGEMAKER__SECRET_ACCESS_KEY": "secret",
        }
        with process(tmp_path, *arguments, **environment) as router:
            listening = await ports(port_file)
            got: list[str] = []
            stop = asyncio.Event()

            async def frames() -> AsyncIterator[Frame]:
                for number in range(3):
                    yield Frame(str(number), Picture("image/png", b"picture"))
                await stop.wait()

            async def consume(client: RouterClient) -> None:
                async for answer in client.infer_frames("det", frames()):
                    assert answer.ok, answer.message
                    got.append(answer.id)

            async with RouterClient.connect(f"127.0.0.1:{listening['grpc']}") as client:
                consuming = asyncio.ensure_future(consume(client))
                await eventually(lambda: endpoint.in_flight == 3)
                metrics = await asyncio.to_thread(_metrics, listening["metrics"])
                assert 'simcloud_router_target_in_flight{model="det",target="det"} 3.0' in metrics
                router.send_signal(signal.SIGTERM)
                await eventually(lambda: "stopping" in _text(tmp_path / "log"))
                endpoint.hold.set()
                with pytest.raises(NotReady):
                    await consuming
            assert got == ["0", "1", "2"]
            assert await asyncio.to_thread(router.wait, 20) == 0


def _metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
    return text


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        ("models: [", 1, "not YAML"),
        ("models: [{name: a}]", 1, "models.0.task"),
        (None, 2, "SIMCLOUD_INFERENCE_ROUTER_CATALOG"),
    ],
)
async def test_a_router_that_can_not_start_says_why(
    tmp_path: Path, content: str | None, code: int, words: str
) -> None:
    arguments: tuple[str, ...] = ()
    if content is not None:
        path = tmp_path / "catalog.yaml"
        path.write_text(content)
        arguments = ("--catalog", str(path))
    with process(tmp_path, *arguments) as router:
        assert await asyncio.to_thread(router.wait, 30) == code
    assert words in (tmp_path / "log").read_text()
