"""Certificates: who the caller is, and the health check of a server that wants one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from simcloud.errors import NotReady
from simcloud.rpc import healthcheck
from simcloud.rpc.auth import caller_of
from simcloud.rpc.channel import connect
from simcloud.rpc.server import ServerSettings, Service, TlsSettings, running_server
from simcloud.rpc.status import client_errors
from support.certificates import make_certificates

_SERVICE = "test.Caller"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def _tls(folder: Path, name: str, **more: Any) -> TlsSettings:
    return TlsSettings(cert=folder / f"{name}.pem", key=folder / f"{name}.key", **more)


def _caller_service() -> Service:
    async def caller(request: bytes, context: Any) -> bytes:
        return caller_of(context).encode()

    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Caller": grpc.unary_unary_rpc_method_handler(caller)
    }
    return Service(
        _SERVICE, lambda server: server.add_registered_method_handlers(_SERVICE, handlers)
    )


async def _caller(channel: grpc.aio.Channel) -> bytes:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        f"/{_SERVICE}/Caller"
    )
    return await call(b"", timeout=5)


async def test_the_caller_is_who_its_certificate_says(certificates: Path) -> None:
    ca = certificates / "ca.pem"
    settings = ServerSettings(tls=_tls(certificates, "server", client_ca=ca))
    async with running_server(settings, services=[_caller_service()]) as server:
        for name, identity in (("client", b"spiffe://prod/trainer"), ("plain", b"plain name")):
            tls = _tls(certificates, name, server_ca=ca, server_name="localhost")
            async with connect(server.address, tls=tls) as channel:
                assert await _caller(channel) == identity
        without = TlsSettings(server_ca=ca, server_name="localhost")
        async with connect(server.address, tls=without) as channel:
            with pytest.raises(NotReady), client_errors():
                await _caller(channel)
        async with connect(server.address) as channel:
            with pytest.raises(NotReady), client_errors():
                await _caller(channel)


async def test_without_client_certificates_callers_are_anonymous(certificates: Path) -> None:
    settings = ServerSettings(tls=_tls(certificates, "server"))
    tls = TlsSettings(server_ca=certificates / "ca.pem", server_name="localhost")
    async with (
        running_server(settings, services=[_caller_service()]) as server,
        connect(server.address, tls=tls) as channel,
    ):
        assert await _caller(channel) == b"anonymous"


async def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = ServerSettings(tls=_tls(tmp_path, "no"))
    with pytest.raises(Exception, match=r"tls\.key: .*no\.key can't be read: No such file"):
        async with running_server(settings, services=[]):
            pass


async def _health(*arguments: str) -> int:
    # A thread: it is a program of its own, which blocks.
    return await asyncio.to_thread(healthcheck.main, arguments)


async def test_the_health_check_is_0_only_while_a_server_serves(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with running_server(ServerSettings(), services=[_caller_service()]) as server:
        assert await _health(server.address) == 0
        assert await _health(server.address, "--service", _SERVICE) == 0
        assert await _health(server.address, "--service", "test.Nobody") == 1
        assert "NOT_FOUND" in capsys.readouterr().err
        server.health.set_serving(_SERVICE, False)
        assert await _health(server.address, "--service", _SERVICE) == 1
        assert capsys.readouterr().err == f"{server.address}: NOT_SERVING\n"
    assert await _health(server.address) == 1
    assert "UNAVAILABLE" in capsys.readouterr().err


async def test_the_health_check_shows_its_certificate(
    certificates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ca = str(certificates / "ca.pem")
    settings = ServerSettings(tls=_tls(certificates, "server", client_ca=certificates / "ca.pem"))
    own = ["--cert", f"{certificates}/client.pem", "--key", f"{certificates}/client.key"]
    async with running_server(settings, services=[_caller_service()]) as server:
        trusted = [server.address, "--ca", ca, "--server-name", "localhost"]
        assert await _health(*trusted, *own) == 0
        assert await _health(*trusted, "--timeout", "1") == 1
        assert await _health(*trusted, *own[:2]) == 1
        assert "--cert and --key belong together" in capsys.readouterr().err
        assert await _health(*trusted, "--cert", "no.pem", "--key", "no.key") == 1
        assert "can't be read" in capsys.readouterr().err
