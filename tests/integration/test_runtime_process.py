"""A service as a process: settings, port file, signals, exit codes, log lines."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from simcloud.rpc.channel import connect
from support.eventually import eventually

_PROGRAM = '''
"""A service that echoes, and holds what it is asked to hold."""
import asyncio
import sys

import grpc

from simcloud.errors import NotFound
from simcloud.rpc.main import run
from simcloud.rpc.server import ServerSettings, Service, serve


class ProbeSettings(ServerSettings):
    """Settings of the probe."""

    greeting: str = "hello"
    """What it says."""
    fails: bool = False
    """Whether it fails at once."""


async def probe(settings: ProbeSettings) -> None:
    if settings.fails:
        raise RuntimeError("it was told to fail")

    async def echo(request, context):
        if request == b"missing":
            raise NotFound("nothing here", key="k")
        if request == b"bug":
            raise ValueError("a bug")
        return settings.greeting.encode() + request

    async def hold(request, context):
        yield b"held"
        await asyncio.Event().wait()

    def add(server):
        server.add_registered_method_handlers(
            "test.Probe",
            {
                "Echo": grpc.unary_unary_rpc_method_handler(echo),
                "Hold": grpc.unary_stream_rpc_method_handler(hold),
            },
        )

    await serve(settings, services=[Service("test.Probe", add)], name="probe")


sys.exit(run(probe, settings=ProbeSettings, name="probe"))
'''


@dataclass
class _Probe:
    process: asyncio.subprocess.Process
    ports: dict[str, int | None]
    port_file: Path

    async def end(self) -> tuple[int, list[dict[str, Any]]]:
        """Exit code and log lines."""
        _, err = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, [json.loads(line) for line in err.splitlines()]


async def _start(tmp_path: Path, *arguments: str, **variables: str) -> asyncio.subprocess.Process:
    program = tmp_path / "probe.py"
    program.write_text(_PROGRAM)
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(program),
        *arguments,
        env={**os.environ, **{f"SIMCLOUD_PROBE_{key}": text for key, text in variables.items()}},
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def _running(tmp_path: Path, *arguments: str, **variables: str) -> AsyncIterator[_Probe]:
    port_file = tmp_path / "ports.json"
    process = await _start(tmp_path, "--port-file", str(port_file), *arguments, **variables)
    try:
        await eventually(lambda: port_file.exists() or process.returncode is not None)
        yield _Probe(process, json.loads(port_file.read_text()), port_file)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _echo(channel: grpc.aio.Channel, request: bytes) -> bytes:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test.Probe/Echo")
    return await call(request)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_a_service_in_order(tmp_path: Path, number: signal.Signals) -> None:
    arguments = ("--metrics-listen", "127.0.0.1:0", "--greeting", "hi ")
    async with _running(tmp_path, *arguments) as probe:
        assert probe.ports["metrics"]
        async with connect(f"127.0.0.1:{probe.ports['grpc']}") as channel:
            assert await _echo(channel, b"x") == b"hi x"
        probe.process.send_signal(number)
        code, lines = await probe.end()
    assert code == 0
    assert not probe.port_file.exists()
    assert [line["event"] for line in lines if line["event"] != "rpc"] == [
        "listening",
        "stopping",
        "stopped",
    ]


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_second_signal_ends_it_at_once(
    tmp_path: Path, number: signal.Signals, expected: int
) -> None:
    async with (
        _running(tmp_path, DRAIN_S="60") as probe,
        connect(f"127.0.0.1:{probe.ports['grpc']}") as channel,
    ):
        call: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
            "/test.Probe/Hold"
        )
        messages = call(b"")
        assert await messages.read() == b"held"
        probe.process.send_signal(number)
        assert probe.process.stderr is not None
        while b'"stopping"' not in await probe.process.stderr.readline():
            pass
        probe.process.send_signal(number)
        assert await probe.process.wait() == expected
        messages.cancel()


async def test_every_rpc_is_one_json_line(tmp_path: Path) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    async with _running(tmp_path) as probe:
        async with connect(f"127.0.0.1:{probe.ports['grpc']}") as channel:
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                "/test.Probe/Echo"
            )
            await call(b"x", metadata=(("traceparent", f"00-{trace}-b7ad6b7169203331-01"),))
            for request in (b"missing", b"bug"):
                with pytest.raises(grpc.aio.AioRpcError):
                    await _echo(channel, request)
            check: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                "/grpc.health.v1.Health/Check"
            )
            await check(b"")
        probe.process.terminate()
        code, lines = await probe.end()
    assert code == 0
    good, missing, bug = (line for line in lines if line["event"] == "rpc")
    assert good["trace_id"] == trace
    assert (good["level"], good["code"]) == ("info", "OK")
    assert (good["service"], good["rpc_service"], good["rpc_method"]) == (
        "probe",
        "test.Probe",
        "Echo",
    )
    assert good["duration_ms"] >= 0
    assert good["caller"].startswith("ipv4:127.0.0.1")
    assert (missing["level"], missing["code"], missing["reason"], missing["message"]) == (
        "info",
        "NOT_FOUND",
        "NOT_FOUND",
        "nothing here",
    )
    assert (bug["level"], bug["code"]) == ("error", "INTERNAL")
    (failure,) = (line for line in lines if line["event"] == "unexpected error")
    assert "ValueError: a bug" in failure["exception"]
    assert failure["trace_id"] == bug["trace_id"]


async def test_a_taken_port_is_exit_code_1_with_the_way_out(tmp_path: Path) -> None:
    async with _running(tmp_path) as probe:
        address = f"127.0.0.1:{probe.ports['grpc']}"
        second = await _start(tmp_path, "--listen", address)
        _, err = await second.communicate()
    assert second.returncode == 1
    line = json.loads(err.splitlines()[-1])
    assert f"{address} is in use: choose another with --listen or free it" in line["event"]
    assert "exception" not in line


async def test_a_failure_is_exit_code_1_with_its_traceback(tmp_path: Path) -> None:
    process = await _start(tmp_path, "--fails")
    _, err = await process.communicate()
    assert process.returncode == 1
    line = json.loads(err.splitlines()[-1])
    assert "RuntimeError: it was told to fail" in line["exception"]


async def test_wrong_settings_are_exit_code_2_and_one_sentence(tmp_path: Path) -> None:
    process = await _start(tmp_path, DRAIN_S="soon")
    _, err = await process.communicate()
    assert process.returncode == 2
    assert err.decode().startswith("SIMCLOUD_PROBE_DRAIN_S: Input should be a valid number")
    assert len(err.splitlines()) == 1


async def test_help_lists_the_settings(tmp_path: Path) -> None:
    process = await _start(tmp_path, "--help")
    out, _ = await process.communicate()
    assert process.returncode == 0
    text = " ".join(out.decode().split())
    assert "What it says. Default: hello. [SIMCLOUD_PROBE_GREETING]" in text
    assert "[SIMCLOUD_PROBE_TLS__CLIENT_CA]" in text
