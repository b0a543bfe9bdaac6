"""Several router processes on one port."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simcloud.client.router import Frame, Picture, RouterClient
from support.eventually import eventually
from support.router import model, write_catalog
from support.scripted_endpoint import scripted_endpoint

PREFIX = "SIMCLOUD_INFERENCE_ROUTER_"


@dataclass(frozen=True, slots=True)
class Started:
    """A supervisor and what it says about its processes."""

    process: subprocess.Popen[bytes]
    ports: dict[str, Any]

    @property
    def pids(self) -> list[int]:
        return [each["pid"] for each in self.ports["processes"]]

    async def code(self) -> int:
        return await asyncio.to_thread(self.process.wait, 30)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def answered(metrics_port: int) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=5) as got:
        lines = got.read().decode().splitlines()
    name = 'simcloud_router_requests_total{model="det",outcome="OK"}'
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def start(log: Path, flags: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with log.open("w") as lines:
        return subprocess.Popen(
            [sys.executable, "-m", "simcloud_inference_router", *flags],
            env=environment,
            stdout=lines,
            stderr=lines,
        )


@asynccontextmanager
async def two_processes(folder: Path, endpoint_url: str, *more: str) -> AsyncIterator[Started]:
    port_file = folder / "ports.json"
    kept = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    environment = {
        PREFIX + "CATALOG": str(write_catalog(folder, model())),
        PREFIX + "SAGEMAKER_ENDPOINT_URL": endpoint_url,
        PREFIX + "SAGEMAKER__ACCESS_KEY_ID": "AKID",
        PREFIX + "SAGEMAKER__SECRET_ACCESS_KEY": "secret",
    }
    flags = ["--processes", "2", "--metrics-listen", "127.0.0.1:0", "--port-file", str(port_file)]
    process = start(folder / "log", [*flags, *more], {**kept, **environment})
    try:
        await eventually(port_file.exists, within_s=60, what="both listen")
        yield Started(process, json.loads(port_file.read_text()))
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)


async def ask(port: int) -> None:
    async def frames() -> AsyncIterator[Frame]:
        yield Frame("0", Picture("image/png", b"picture"))

    async with RouterClient.connect(f"127.0.0.1:{port}") as client:
        async for answer in client.infer_frames("det", frames()):
            assert answer.ok, answer.message


async def test_connections_are_spread_over_processes_and_all_drain_on_sigterm(
    tmp_path: Path,
) -> None:
    async with scripted_endpoint() as endpoint, two_processes(tmp_path, endpoint.url) as started:
        metrics = [each["metrics"] for each in started.ports["processes"]]
        assert len(set(started.pids)) == len(set(metrics)) == 2

        async def both_served() -> bool:
            await ask(started.ports["grpc"])
            counts = [await asyncio.to_thread(answered, port) for port in metrics]
            return all(counts)

        await eventually(both_served, within_s=60)
        started.process.send_signal(signal.SIGTERM)
        assert await started.code() == 0
        assert not any(alive(pid) for pid in started.pids)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert sum(line["event"] == "stopped" for line in lines) == 2


async def test_a_process_that_dies_takes_the_others_with_it_and_the_exit_code_says_so(
    tmp_path: Path,
) -> None:
    async with scripted_endpoint() as endpoint, two_processes(tmp_path, endpoint.url) as started:
        os.kill(started.pids[0], signal.SIGKILL)
        assert await started.code() == 1
        assert not any(alive(pid) for pid in started.pids)
    log = (tmp_path / "log").read_text()
    assert "a process ended by itself" in log
    assert '"stopped"' in log


async def test_processes_whose_supervisor_is_killed_drain_and_end(tmp_path: Path) -> None:
    async with scripted_endpoint() as endpoint, two_processes(tmp_path, endpoint.url) as started:
        started.process.kill()
        await eventually(lambda: not any(alive(pid) for pid in started.pids), within_s=30)
    assert (tmp_path / "log").read_text().count('"stopped"') == 2


async def test_a_unix_socket_is_not_shared(tmp_path: Path) -> None:
    flags = ["--processes", "2", "--listen", f"unix:{tmp_path}/s", "--catalog", "none.yaml"]
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "simcloud_inference_router", *flags],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "can't share unix:" in done.stderr


def catalogues(metrics_port: int) -> float:
    """New catalogues that a process took."""
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=5) as got:
        lines = got.read().decode().splitlines()
    name = 'simcloud_router_catalog_reloads_total{outcome="loaded"}'
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


async def test_sighup_has_every_process_read_the_catalogue_again(tmp_path: Path) -> None:
    flags = ("--catalog-poll-s", "0")
    async with (
        scripted_endpoint() as endpoint,
        two_processes(tmp_path, endpoint.url, *flags) as started,
    ):
        write_catalog(tmp_path, model(), model("new"))
        started.process.send_signal(signal.SIGHUP)

        async def both_took_it() -> bool:
            ports = [each["metrics"] for each in started.ports["processes"]]
            return [await asyncio.to_thread(catalogues, port) for port in ports] == [1, 1]

        await eventually(both_took_it)
        assert started.process.poll() is None
        async with RouterClient.connect(f"127.0.0.1:{started.ports['grpc']}") as client:
            assert [each.name for each in await client.list_models()] == ["det", "new"]
