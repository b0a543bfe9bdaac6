"""A server's life: where it listens, who may come, how it stops; health and reflection."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from simcloud.rpc.channel import connect
from simcloud.rpc.server import AddressInUse
from simcloud.rpc.settings import ServerSettings, TlsSettings
from support.certificates import make_certificates
from support.eventually import eventually
from support.http2_frames import PREFACE, Code, request, settings
from support.http2_peer import peer_of, ready_peer
from support.http2_probe import SERVERS, SERVICE, Site, probe_site

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(scope="module", params=SERVERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest_asyncio.fixture(loop_scope="module")
async def site(kind: str) -> AsyncIterator[Site]:
    async with probe_site(kind) as running:
        yield running
        running.probe.release.set()


def unary(channel: grpc.aio.Channel, name: str) -> grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]:
    return channel.unary_unary(f"/probe.Probe/{name}")


def mutual(folder: Path) -> TlsSettings:
    return TlsSettings(
        cert=folder / "server.pem", key=folder / "server.key", client_ca=folder / "ca.pem"
    )


def client(folder: Path, name: str | None) -> TlsSettings:
    return TlsSettings(
        cert=None if name is None else folder / f"{name}.pem",
        key=None if name is None else folder / f"{name}.key",
        server_ca=folder / "ca.pem",
        server_name="localhost",
    )


async def test_a_unix_socket_is_served(kind: str, tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/probe.sock"
    async with (
        probe_site(kind, ServerSettings(listen=address, drain_s=0)) as site,
        connect(site.address) as channel,
    ):
        assert site.address == address
        assert await unary(channel, "Echo")(b"x", timeout=20) == b"x"
        assert (await unary(channel, "Caller")(b"", timeout=20)).startswith(b"anonymous unix:")


async def test_an_address_that_is_taken_is_an_error(kind: str, site: Site) -> None:
    with pytest.raises(AddressInUse):
        async with probe_site(kind, ServerSettings(listen=site.address)):
            pass


async def test_a_method_knows_where_its_caller_is(site: Site) -> None:
    async with connect(site.address) as channel:
        caller = await unary(channel, "Caller")(b"", timeout=20)
    assert caller.startswith(b"anonymous ipv4:127.0.0.1:")


@pytest.mark.parametrize(
    ("name", "caller"), [("client", "spiffe://prod/trainer"), ("plain", "plain name")]
)
async def test_a_client_is_who_its_certificate_says(
    kind: str, certificates: Path, name: str, caller: str
) -> None:
    settings_ = ServerSettings(tls=mutual(certificates), drain_s=0)
    async with (
        probe_site(kind, settings_) as site,
        connect(site.address, tls=client(certificates, name)) as channel,
    ):
        found = await unary(channel, "Caller")(b"", timeout=20)
        assert found.decode().split(" ipv4:")[0] == caller
        big = bytes(4 << 20)
        assert await unary(channel, "Echo")(big, timeout=20) == big


async def test_a_client_without_a_certificate_is_not_served_where_one_is_asked(
    kind: str, certificates: Path
) -> None:
    settings_ = ServerSettings(tls=mutual(certificates), drain_s=0)
    async with probe_site(kind, settings_) as site:
        for own in (client(certificates, None), None):
            async with connect(site.address, tls=own) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await unary(channel, "Echo")(b"", timeout=20)
                assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert site.probe.called == 0
        async with connect(site.address, tls=client(certificates, "client")) as channel:
            assert await unary(channel, "Echo")(b"x", timeout=20) == b"x"


async def test_a_server_with_tls_alone_serves_anybody(kind: str, certificates: Path) -> None:
    tls = mutual(certificates).model_copy(update={"client_ca": None})
    async with (
        probe_site(kind, ServerSettings(tls=tls, drain_s=0)) as site,
        connect(site.address, tls=client(certificates, None)) as channel,
    ):
        assert (await unary(channel, "Caller")(b"", timeout=20)).startswith(b"anonymous ")


@pytest.mark.parametrize("protocols", [["h2"], ["http/1.1", "h2"]])
async def test_tls_says_that_it_is_http2(
    kind: str, certificates: Path, protocols: list[str]
) -> None:
    """RFC 9113 section 3.2: ALPN."""
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    context.set_alpn_protocols(protocols)
    tls = mutual(certificates).model_copy(update={"client_ca": None})
    async with probe_site(kind, ServerSettings(tls=tls, drain_s=0)) as site:
        host, _, port = site.address.rpartition(":")
        _, writer = await asyncio.open_connection(
            host, int(port), ssl=context, server_hostname="localhost"
        )
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        writer.transport.abort()


async def test_health_is_checked_and_watched(site: Site) -> None:
    async with connect(site.address) as channel:
        # Its class is without types.
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE):
            asks = health_pb2.HealthCheckRequest(service=name)
            assert (await stub.Check(asks, timeout=20)).status == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await stub.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=20)
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=20)
        assert (await watch.read()).status == SERVING
        site.running.health.set_serving(SERVICE, False)
        assert (await watch.read()).status == NOT_SERVING
        watch.cancel()


# gRPC's own is asked by test_runtime_drain.
@pytest.mark.parametrize("kind", ["http2"])
async def test_who_watches_hears_of_a_drain_and_is_let_go(kind: str) -> None:
    server = probe_site(kind, ServerSettings(drain_s=20, log_requests=False))
    site = await server.__aenter__()
    async with connect(site.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=20)
        assert (await watch.read()).status == SERVING
        async with asyncio.TaskGroup() as group:
            group.create_task(leaves(server))
            assert (await watch.read()).status == NOT_SERVING
            assert await watch.read() is grpc.aio.EOF
            assert await watch.code() is grpc.StatusCode.OK


async def test_reflection_lists_and_describes_what_is_served(site: Site) -> None:
    # Its client is of the synchronous stack, and so on a thread.
    def look() -> tuple[set[str], str]:
        with grpc.insecure_channel(site.address) as channel:
            found = ProtoReflectionDescriptorDatabase(channel)
            pool = DescriptorPool(found)
            described = pool.FindServiceByName("grpc.health.v1.Health")
            return set(found.get_services()), described.methods_by_name["Watch"].name

    services, method = await asyncio.to_thread(look)
    assert {SERVICE, "grpc.health.v1.Health"} <= services
    assert method == "Watch"


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_is_asked_more_than_once_a_stream(site: Site, version: str) -> None:
    async with connect(site.address) as channel:
        method: grpc.aio.StreamStreamMultiCallable[Any, Any] = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        call = method(timeout=20)
        for _ in range(2):
            await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            answer: Any = await call.read()
            assert SERVICE in {each.name for each in answer.list_services_response.service}
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK


async def test_a_client_waits_for_a_server_that_is_still_to_come(kind: str, tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/late.sock"
    async with connect(address) as channel:
        call = unary(channel, "Echo")(b"x", timeout=30, wait_for_ready=True)
        await eventually(lambda: channel.get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE)
        async with probe_site(kind, ServerSettings(listen=address, drain_s=0)):
            assert await call == b"x"


async def test_a_client_that_probes_its_connection_keeps_it(kind: str) -> None:
    """Our own clients do, every 30 s; here every second at most, with a call under way."""
    options = (
        *(("grpc.keepalive_time_ms", 100), ("grpc.keepalive_timeout_ms", 20_000)),
        *(("grpc.http2.max_pings_without_data", 0), ("grpc.keepalive_permit_without_calls", 1)),
    )
    async with (
        probe_site(kind) as site,
        grpc.aio.insecure_channel(site.address, options=options) as channel,
    ):
        for _ in range(5):
            assert await unary(channel, "Echo")(b"x", timeout=20) == b"x"


# gRPC's own server does not probe as often, whatever it is told.
@pytest.mark.parametrize("kind", ["http2"], indirect=True)
async def test_a_silent_client_is_probed_and_left_when_it_does_not_answer(kind: str) -> None:
    settings_ = ServerSettings(keepalive_s=1, keepalive_timeout_s=0.5, drain_s=0)
    async with probe_site(kind, settings_) as site, ready_peer(site.address) as peer:
        before = site.probe.cancelled
        await peer.send(request(1, b"", b"/probe.Probe/Wait"))
        await eventually(lambda: site.probe.waiting == 1)
        peer.answers_pings = False
        await peer.ends()
        await eventually(lambda: site.probe.cancelled == before + 1)


async def test_a_drain_lets_what_runs_end_and_takes_nothing_new(kind: str) -> None:
    """RFC 9113 section 6.8: what is below the last stream of a GOAWAY is still answered."""
    server = probe_site(kind, ServerSettings(drain_s=20, log_requests=False))
    site = await server.__aenter__()
    async with ready_peer(site.address) as peer, ready_peer(site.address) as idle:
        await peer.send(request(1, b"held", b"/probe.Probe/Hold"))
        await eventually(lambda: site.probe.waiting == 1)
        async with asyncio.TaskGroup() as group:
            group.create_task(leaves(server))
            await peer.until(lambda: peer.goaway is not None)
            # On its way when the server began to stop: a status that says so, or a refusal that
            # lets clients ask another one.
            await peer.send(request(3, b"late"))
            assert await idle.ends() == Code.NO_ERROR
            assert site.probe.waiting == 1
            with pytest.raises(OSError, match=r"refused|failed"):
                async with ready_peer(site.address):
                    pass
            site.probe.release.set()
            assert (await peer.answer(1)).messages == [b"held"]
            assert await peer.ends() == Code.NO_ERROR
    late = peer.answers.get(3)
    # CANCELLED is what gRPC's own server makes of it.
    statuses = {14} if kind == "http2" else {14, 1}
    assert late is None or late.grpc_status in statuses or late.code == Code.REFUSED_STREAM
    assert site.probe.called == 0


async def test_a_drain_cuts_what_does_not_end_and_says_why(kind: str) -> None:
    server = probe_site(kind, ServerSettings(drain_s=0.2, log_requests=False))
    site = await server.__aenter__()
    async with connect(site.address) as channel:
        call = unary(channel, "Wait")(b"", timeout=20)
        await eventually(lambda: site.probe.waiting == 1)
        await leaves(server)
        with pytest.raises(grpc.aio.AioRpcError) as cut:
            await call
    assert cut.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "shutting down" in (cut.value.details() or "")


async def test_no_call_is_lost_when_one_of_two_servers_stops(kind: str) -> None:
    """Each call is answered, or UNAVAILABLE before its method was called, and asked again."""
    settings_ = ServerSettings(drain_s=20, log_requests=False)
    first = probe_site(kind, settings_)
    one = await first.__aenter__()
    # CANCELLED is what gRPC's own server answers to what arrives while it stops.
    refusals = {grpc.StatusCode.UNAVAILABLE}
    if kind == "grpc":
        refusals.add(grpc.StatusCode.CANCELLED)
    answered = 0
    stopping = asyncio.Event()

    async def calls(channel: grpc.aio.Channel) -> None:
        nonlocal answered
        for number in range(30):
            if answered >= 80:
                stopping.set()
            while (answer := await asked_of(channel, b"%d" % number)) in refusals:
                pass
            assert answer == b"%d" % number
            answered += 1

    async def stops() -> None:
        await stopping.wait()
        await leaves(first)

    async with probe_site(kind, settings_) as two:
        target = f"ipv4:{one.address},{two.address}"
        options = (("grpc.lb_policy_name", "round_robin"), ("grpc.enable_retries", 0))
        async with (
            grpc.aio.insecure_channel(target, options=options) as channel,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(stops())
            for _ in range(10):
                group.create_task(calls(channel))
        assert answered == 300
        assert one.probe.called + two.probe.called == 300
        assert one.probe.called > 0


async def test_a_connection_that_is_old_is_asked_to_go_elsewhere(kind: str) -> None:
    """And comes back: no call fails of it."""
    # The call comes with the connection, however soon that is old to a busy machine.
    greeting = PREFACE + settings() + request(1, b"held", b"/probe.Probe/Hold")
    async with (
        probe_site(kind, ServerSettings(max_connection_age_s=0.2, drain_s=5)) as site,
        connect(site.address) as channel,
        peer_of(site.address, greeting=greeting) as peer,
    ):
        await peer.until(lambda: peer.goaway is not None)
        await eventually(lambda: site.probe.waiting == 1)
        site.probe.release.set()
        assert (await peer.answer(1)).messages == [b"held"]
        assert await peer.ends() == Code.NO_ERROR
        assert await unary(channel, "Echo")(b"x", timeout=20, wait_for_ready=True) == b"x"


async def asked_of(channel: grpc.aio.Channel, payload: bytes) -> bytes | grpc.StatusCode:
    try:
        return await unary(channel, "Echo")(payload, timeout=20)
    except grpc.aio.AioRpcError as error:
        return error.code()


async def leaves(server: contextlib.AbstractAsyncContextManager[Site]) -> None:
    await server.__aexit__(None, None, None)
