"""What callers and targets may send, and what becomes of it when they send more."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr
from yarl import URL

from simcloud.client.router import Frame, FrameAnswer, Picture
from simcloud.dataset.frames import FrameRef
from simcloud.errors import DeadlineExceeded, InvalidRequest, NotReady, Overloaded
from simcloud.oip.pool import OipMessage
from simcloud.oip.tensors import new
from simcloud.rpc.status import client_errors
from simcloud.s3.client import S3Settings
from simcloud_inference_router.targets.base import Failure
from simcloud_inference_router.targets.target_pool import open_target_pool
from support.eventually import eventually
from support.http_site import http_site
from support.router import (
    RunningRouter,
    infer,
    model,
    row_request,
    running_router,
    settings_for,
    write_catalog,
)
from support.scripted_endpoint import (
    Invocation,
    Reply,
    ScriptedEndpoint,
    error,
)

PICTURE = Picture("image/png", b"picture")


@pytest.fixture
async def router(endpoint: ScriptedEndpoint, tmp_path: Path) -> AsyncIterator[RunningRouter]:
    catalog = write_catalog(tmp_path, model())
    changes = {"allowed_buckets": ("data/run",), "max_message_bytes": 256 * 1024}
    async with running_router(settings_for(catalog, endpoint.url, **changes)) as running:
        yield running


async def ask(
    router: RunningRouter,
    *pictures: Picture | FrameRef,
    accept: str = "",
    parameters: dict[str, str] | None = None,
) -> list[FrameAnswer]:
    async def frames() -> AsyncIterator[Frame]:
        for number, picture in enumerate(pictures):
            yield Frame(str(number), picture)

    stream = router.client.infer_frames("det", frames(), accept=accept, parameters=parameters)
    return [answer async for answer in stream]


def first_gets(reply: Reply) -> Callable[[Invocation], Reply]:
    """Answers frame `0` so, whichever frame comes first: each has a connection of its own."""

    def respond(invocation: Invocation) -> Reply:
        headers = {name.lower(): value for name, value in invocation.headers.items()}
        return reply if headers["x-amzn-sagemaker-inference-id"] == "0" else Reply()

    return respond


@pytest.mark.parametrize("accept", ["a/b\r\nx-evil: 1", "json", "a/ b", "a/b" + "c" * 300])
async def test_an_accept_that_is_no_header_is_refused_by_name(
    router: RunningRouter, accept: str
) -> None:
    with pytest.raises(InvalidRequest, match=r"open\.accept"):
        await ask(router, PICTURE, accept=accept)


@pytest.mark.parametrize(
    "parameters",
    [{"a": "b c"}, {"a=b": "c"}, {"a": "b;c"}, {"a": ""}, {f"n{i}": "v" * 200 for i in range(5)}],
)
async def test_a_parameter_that_could_not_travel_is_refused_and_never_left_out(
    router: RunningRouter, endpoint: ScriptedEndpoint, parameters: dict[str, str]
) -> None:
    with pytest.raises(InvalidRequest, match=r"open\.parameters"):
        await ask(router, PICTURE, parameters=parameters)
    assert not endpoint.seen


@pytest.mark.parametrize(
    ("key", "etag", "field"),
    [
        ("/run/a.png", "", "frame.ref.key"),
        ("run/../secret", "", "frame.ref.key"),
        ("run/./a", "", "frame.ref.key"),
        ("run/a\nb", "", "frame.ref.key"),
        ("run/" + "k" * 1100, "", "frame.ref.key"),
        ("run/a", '"1"\r\nx: y', "frame.ref.etag"),
        ("run/a", "*", "frame.ref.etag"),
        ("run/a", '"1","2"', "frame.ref.etag"),
        ("run2/a", "", "may not name"),
    ],
)
async def test_a_ref_past_the_allow_list_is_answered_and_counted_and_nothing_is_read(
    router: RunningRouter, key: str, etag: str, field: str
) -> None:
    ref = FrameRef(bucket="data", key=key, etag=etag, offset=0, length=10, media_type="image/png")
    (answer,) = await ask(router, ref)
    assert field in answer.message
    (counts,) = await router.client.statistics("det")
    assert (counts.requests, counts.failed) == (1, {answer.reason: 1})


async def test_an_answer_that_could_not_be_sent_on_is_its_frames_error(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    endpoint.respond = first_gets(Reply(body=bytes(250 * 1024)))
    large, small = await ask(router, PICTURE, PICTURE)
    assert large.reason == "TARGET_ERROR"
    assert "larger than" in large.message
    assert small.ok


async def test_half_a_surrogate_pair_in_a_targets_words_does_not_end_the_stream(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    endpoint.respond = first_gets(error(400, "ValidationError", "\\ud800 broken"))
    broken, fine = await ask(router, PICTURE, PICTURE)
    assert "? broken" in broken.message
    assert fine.ok


async def test_refused_fixed_credentials_are_not_tried_again(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    endpoint.default = error(403, "ExpiredTokenException", "old")
    (answer,) = await ask(router, PICTURE)
    assert (answer.reason, answer.attempts) == ("UNAUTHENTICATED", 1)
    assert len(endpoint.seen) == 1


async def test_a_large_body_is_signed_like_a_small_one(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    async with running_router(
        settings_for(write_catalog(tmp_path, model()), endpoint.url)
    ) as router:
        (answer,) = await ask(router, Picture("image/png", bytes(300 * 1024)))
    assert answer.ok
    assert "Signature=" in endpoint.seen[0].headers["Authorization"]


async def test_a_connection_lost_within_an_answer_is_not_asked_again(tmp_path: Path) -> None:
    asked = 0

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(half, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with running_router(settings_for(write_catalog(tmp_path, model()), url)) as router:
            (answer,) = await ask(router, PICTURE)
    assert (answer.reason, answer.attempts, asked) == ("ANSWER_LOST", 1, 1)
    assert "within its answer" in answer.message


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port whose queue is full: connections to it neither succeed nor fail."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        clients = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            clients.append(client)
        yield port
        for client in clients:
            client.close()


@pytest.mark.parametrize(
    ("timeout_s", "expected", "shrink"), [(0.2, DeadlineExceeded, False), (5.0, NotReady, True)]
)
async def test_only_the_connect_timeout_speaks_of_the_target_not_a_callers_short_time(
    deaf_port: int, timeout_s: float, expected: type[Exception], shrink: bool
) -> None:
    async with open_target_pool(
        connect_timeout_s=0.3, keepalive_s=5, max_answer_bytes=1024
    ) as pool:
        outcome = await pool.post(
            target="det",
            url=URL(f"http://127.0.0.1:{deaf_port}/"),
            headers={},
            body=b"x",
            timeout_s=timeout_s,
        )
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, expected)
    assert outcome.shrink is shrink
    assert str(deaf_port) not in outcome.error.message


async def test_requests_of_a_tensor_stream_count_against_the_payload_budget(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    size = 700_000
    tensor = {"datatype": "UINT8", "shape": [-1]}
    entry = model(
        max_batch_size=0, inputs=[{"name": "x", **tensor}], outputs=[{"name": "y", **tensor}]
    )
    endpoint.hold = asyncio.Event()
    endpoint.default = Reply(
        body=b'{"outputs":[{"name":"y","datatype":"UINT8","shape":[1],"data":[1]}]}'
    )

    async def requests() -> AsyncIterator[OipMessage]:
        for _ in range(3):
            request = new("ModelInferRequest")
            request.model_name = "det"
            request.inputs.add(name="x", datatype="UINT8", shape=[size])
            request.raw_input_contents.append(bytes(size))
            yield request

    settings = settings_for(
        write_catalog(tmp_path, entry), endpoint.url, payload_budget_bytes=1024 * 1024
    )
    async with running_router(settings) as router:
        stream = router.oip.ModelStreamInfer(requests())
        await eventually(lambda: endpoint.in_flight == 1 and router.router.payloads.waiting == 1)
        endpoint.hold.set()
        responses = [response async for response in stream]
        assert [response.error_message for response in responses] == [""] * 3
        assert endpoint.peak == 1
        assert router.router.payloads.in_use == 0


@pytest.mark.parametrize("batching", [False, True])
async def test_where_there_is_no_room_a_request_is_refused_before_it_is_read(
    endpoint: ScriptedEndpoint, tmp_path: Path, *, batching: bool
) -> None:
    entry = model(tensor_codec="json_v2", picture_codec=None)
    if batching:
        entry["dynamic_batching"] = {"max_queue_delay_microseconds": 1}
    catalog = write_catalog(tmp_path, entry)
    settings = settings_for(catalog, endpoint.url, limiter={"start": 1, "maximum": 1})
    endpoint.hold = asyncio.Event()
    endpoint.default = Reply(
        body=b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}'
    )
    unreadable = row_request()
    unreadable.raw_input_contents[0] = b"one byte too many"
    async with running_router(settings) as router, asyncio.TaskGroup() as group:
        door = router.router.models["det"].door
        group.create_task(infer(router))
        await eventually(lambda: endpoint.in_flight == 1)
        group.create_task(infer(router))
        await eventually(lambda: door.waiting == 1)
        # One that may join those that wait needs no room.
        with pytest.raises(InvalidRequest if batching else Overloaded):
            await infer(router, unreadable)
        endpoint.hold.set()


async def test_a_message_that_is_none_ends_a_tensor_stream_as_invalid(
    router: RunningRouter,
) -> None:
    async def garbage() -> AsyncIterator[bytes]:
        yield b"\xff\xff\xff"

    call: Any = router.channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    with pytest.raises(InvalidRequest, match="no ModelInferRequest"), client_errors():
        async for _ in call(garbage()):
            pass


async def test_an_only_target_is_not_ready_after_five_failures_but_asked_until_it_answers(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    async def ready() -> bool:
        (described,) = await router.client.list_models()
        return described.targets[0].ready

    assert await ready()
    endpoint.default = error(503, "ServiceUnavailable")
    await ask(router, *[PICTURE] * 5)
    assert len(endpoint.seen) >= 5
    assert not await ready()
    endpoint.default = Reply()
    await ask(router, PICTURE)
    assert await ready()


async def test_callers_hear_only_of_models_they_may_use(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    catalog = write_catalog(tmp_path, model(), model("secret"))
    settings = settings_for(catalog, endpoint.url, allowed_models=("det",))
    async with running_router(settings) as router:
        assert [each.name for each in await router.client.list_models()] == ["det"]
        assert [each.model for each in await router.client.statistics()] == ["det"]
        index = await router.oip.RepositoryIndex(new("RepositoryIndexRequest"))
        assert [each.name for each in index.models] == ["det"]


@asynccontextmanager
async def _http(answer: Callable[[web.BaseRequest], web.Response]) -> AsyncIterator[str]:
    async def handle(request: web.Request) -> web.Response:
        return answer(request)

    async with http_site(handle) as url:
        yield url


async def test_the_buckets_owner_of_the_settings_goes_with_every_read(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    owners: list[str] = []

    def answer(request: web.BaseRequest) -> web.Response:
        owners.append(request.headers.get("x-amz-expected-bucket-owner", ""))
        return web.Response(status=206, body=b"0123456789")

    async with _http(answer) as url:
        s3 = S3Settings(
            endpoint_url=url,
            path_style=True,
            access_key_id="a",
            secret_access_key=SecretStr("b"),
            expected_bucket_owner="123456789012",
        )
        settings = settings_for(
            write_catalog(tmp_path, model()), endpoint.url, s3=s3, allowed_buckets=("data",)
        )
        ref = FrameRef(bucket="data", key="k", etag="", offset=0, length=10, media_type="image/png")
        async with running_router(settings) as router:
            (first,) = await ask(router, ref)
    assert first.ok
    assert owners == ["123456789012"]
