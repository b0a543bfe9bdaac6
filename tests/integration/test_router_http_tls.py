"""The router's HTTP client over TLS."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from simcloud.errors import NotReady
from simcloud.http.pool import HttpAnswer
from simcloud_inference_router.targets.base import Failure
from simcloud_inference_router.targets.target_pool import TargetPool, open_target_pool
from support.byte_server import HELLO, Server, ask, replying, serving
from support.eventually import eventually


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of `localhost`, signed by itself, with its key."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
            ),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", f"{path}.key", "-out", str(path)),
        ],
        check=True,
        capture_output=True,
    )
    return path


def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, f"{certificate}.key")
    return context


@asynccontextmanager
async def trusting(certificate: Path) -> AsyncIterator[TargetPool]:
    tls = ssl.create_default_context(cafile=certificate)
    async with open_target_pool(
        connect_timeout_s=5, keepalive_s=5, max_answer_bytes=1 << 20, tls=tls
    ) as pool:
        yield pool
    assert pool.connections == 0


async def test_https_is_spoken_to_whom_the_certificate_names(certificate: Path) -> None:
    large = b"HTTP/1.1 200 OK\r\ncontent-length: 500000\r\n\r\n" + bytes(500_000)
    async with (
        serving(replying(large), tls=server_tls(certificate)) as server,
        trusting(certificate) as pool,
    ):
        for _ in range(2):
            answer = await ask(pool, server.url("https", "localhost"), body=bytes(300_000))
            assert isinstance(answer, HttpAnswer)
            assert len(answer.body) == 500_000
        assert server.connections == 1
        other = await ask(pool, server.url("https", "127.0.0.1"))
    assert isinstance(other, Failure)
    assert "certificate is not valid" in other.error.message


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    certificate: Path, pool: TargetPool
) -> None:
    async with serving(replying(HELLO), tls=server_tls(certificate)) as server:
        outcome = await ask(pool, server.url("https", "localhost"))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, NotReady)
    assert "certificate is not valid" in outcome.error.message
    assert server.bodies == []


async def test_a_handshake_that_hangs_is_ended_by_the_connect_timeout_or_a_cancel() -> None:
    async def silent(
        _server: Server, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter
    ) -> None:
        await reader.read()

    async with (
        serving(silent) as server,
        open_target_pool(connect_timeout_s=0.2, keepalive_s=5, max_answer_bytes=9) as pool,
    ):
        outcome = await ask(pool, server.url("https"))
        assert isinstance(outcome, Failure)
        assert "not connected within 0.2 s" in outcome.error.message
    async with (
        serving(silent) as server,
        open_target_pool(connect_timeout_s=60, keepalive_s=5, max_answer_bytes=9) as pool,
    ):
        asking = asyncio.ensure_future(ask(pool, server.url("https"), timeout_s=90))
        await eventually(lambda: server.connections == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await eventually(lambda: server.gone == 1)


# Services run on uvloop, whose TLS is its own.


@pytest.mark.parametrize(
    "scenario",
    [
        lambda _: test_a_handshake_that_hangs_is_ended_by_the_connect_timeout_or_a_cancel(),
        test_https_is_spoken_to_whom_the_certificate_names,
    ],
)
def test_tls_is_the_same_on_uvloop(
    scenario: Callable[[Path], Coroutine[None, None, None]], certificate: Path
) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario(certificate))
