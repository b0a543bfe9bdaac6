from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from simcloud.client.router import Frame, FrameAnswer, Picture
from simcloud.dataset.frames import FrameRef
from simcloud.errors import (
    InvalidRequest,
    NotFound,
    NotReady,
    Overloaded,
    PermissionDenied,
    SimcloudError,
)
from simcloud.rpc.status import client_errors
from simcloud.v1 import infer_pb2, infer_pb2_grpc
from support.eventually import eventually
from support.router import RunningRouter, model, running_router, settings_for, write_catalog
from support.scripted_endpoint import Invocation, Reply, ScriptedEndpoint, error

PICTURE = Picture("image/png", b"picture")


@pytest.fixture
async def router(endpoint: ScriptedEndpoint, tmp_path: Path) -> AsyncIterator[RunningRouter]:
    catalog = write_catalog(tmp_path, model())
    async with running_router(settings_for(catalog, endpoint.url, stream_window=4)) as running:
        yield running


async def frames(count: int, picture: Picture | FrameRef = PICTURE) -> AsyncIterator[Frame]:
    for number in range(count):
        yield Frame(str(number), picture)


async def answers(router: RunningRouter, count: int, *, ordered: bool = True) -> list[FrameAnswer]:
    stream = router.client.infer_frames("det", frames(count), ordered=ordered)
    return [answer async for answer in stream]


def hold(endpoint: ScriptedEndpoint, *ids: str) -> asyncio.Event:
    """Holds back the endpoint's answers to these frames until the event is set.

    By name: each frame has a connection of its own, and any of them may come first.
    """
    event = asyncio.Event()

    def respond(invocation: Invocation) -> Reply:
        headers = {name.lower(): value for name, value in invocation.headers.items()}
        held = headers["x-amzn-sagemaker-inference-id"] in ids
        return Reply(hold=event) if held else Reply()

    endpoint.respond = respond
    return event


async def test_the_picture_is_the_body_and_its_media_type_the_content_type(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    (answer,) = await answers(router, 1)
    assert answer.ok
    assert (answer.media_type, answer.body) == ("application/json", b'{"detections":[]}')
    assert (answer.target, answer.attempts) == ("det", 1)
    (seen,) = endpoint.seen
    assert seen.body == b"picture"
    assert seen.headers["Content-Type"] == "image/png"
    assert seen.headers["Accept"] == "application/json"


async def test_every_frame_gets_one_answer_in_order(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    event = hold(endpoint, "0")
    waiting = asyncio.ensure_future(answers(router, 50))
    await eventually(lambda: len(endpoint.seen) == 4)
    event.set()
    assert [answer.id for answer in await waiting] == [str(number) for number in range(50)]


async def test_the_window_bounds_frames_sent_and_not_answered(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    event = hold(endpoint, "0")
    read = 0

    async def counted() -> AsyncIterator[Frame]:
        nonlocal read
        async for frame in frames(20):
            read += 1
            yield frame

    async def all_of() -> list[FrameAnswer]:
        return [answer async for answer in router.client.infer_frames("det", counted())]

    waiting = asyncio.ensure_future(all_of())
    # Answers 1 to 3 are there and wait for their turn; the client holds the fifth frame.
    await eventually(lambda: (len(endpoint.seen), endpoint.in_flight, read) == (4, 1, 5))
    event.set()
    assert len(await waiting) == 20


async def test_unordered_answers_overtake(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    event = hold(endpoint, "0")
    seen: list[str] = []

    async def all_of() -> None:
        async for answer in router.client.infer_frames("det", frames(8), ordered=False):
            seen.append(answer.id)

    waiting = asyncio.ensure_future(all_of())
    await eventually(lambda: len(seen) == 7)
    event.set()
    await waiting
    assert len(set(seen)) == 8


async def test_a_frames_error_is_an_answer_and_the_stream_goes_on(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    endpoint.replies.extend([Reply(), error(400, "ValidationError", "bad picture"), Reply()])
    got = []
    for _ in range(3):
        got += await answers(router, 1)
    assert [answer.code for answer in got] == [0, 3, 0]
    assert got[1].reason == "INVALID_REQUEST"
    assert "bad picture" in got[1].message
    assert not got[1].body


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        (infer_pb2.InferFrame(), "frame.id"),
        (infer_pb2.InferFrame(id="x" * 257), "frame.id"),
        (infer_pb2.InferFrame(id="a"), "frame.picture"),
        (
            infer_pb2.InferFrame(
                id="a", inline=infer_pb2.InlinePicture(media_type="png", data=b"x")
            ),
            "media_type",
        ),
        (
            infer_pb2.InferFrame(id="a", inline=infer_pb2.InlinePicture(media_type="image/png")),
            "frame.inline.data",
        ),
        (
            infer_pb2.InferFrame(
                id="a",
                inline=infer_pb2.InlinePicture(media_type="image/png", data=bytes(7 << 20)),
            ),
            "frame.inline.data",
        ),
    ],
)
async def test_a_frame_that_can_never_work_is_answered_with_its_field(
    router: RunningRouter, frame: infer_pb2.InferFrame, field: str
) -> None:
    opened = infer_pb2.InferRequest(open=infer_pb2.OpenInfer(model="det"))
    responses = await exchange(router, [opened, infer_pb2.InferRequest(frame=frame)])
    (answer,) = (each.answer for each in responses if each.WhichOneof("message") == "answer")
    assert answer.id == frame.id[:256]
    assert (answer.code, answer.reason, answer.retryable) == (3, "INVALID_REQUEST", False)
    assert field in answer.message


async def test_an_id_that_is_in_flight_is_refused_and_free_again_later(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    event = hold(endpoint, "a")

    async def twice() -> AsyncIterator[Frame]:
        yield Frame("a", PICTURE)
        yield Frame("a", PICTURE)

    seen: list[FrameAnswer] = []
    async for answer in router.client.infer_frames("det", twice(), ordered=False):
        seen.append(answer)
        event.set()
    assert [answer.code for answer in seen] == [3, 0]

    seen = []
    answered = asyncio.Event()

    async def one_after_the_other() -> AsyncIterator[Frame]:
        yield Frame("a", PICTURE)
        await answered.wait()
        yield Frame("a", PICTURE)

    async for answer in router.client.infer_frames("det", one_after_the_other()):
        seen.append(answer)
        answered.set()
    assert [answer.code for answer in seen] == [0, 0]


async def exchange(
    router: RunningRouter, requests: list[infer_pb2.InferRequest]
) -> list[infer_pb2.InferResponse]:
    """Sends these, credit or not; what came back, or the stream's error."""

    async def sent() -> AsyncIterator[infer_pb2.InferRequest]:
        for request in requests:
            yield request

    stub: infer_pb2_grpc.InferenceRouterServiceStub = infer_pb2_grpc.InferenceRouterServiceStub(
        router.channel
    )
    with client_errors():
        return [response async for response in stub.Infer(sent(), timeout=10)]


def frame(number: int) -> infer_pb2.InferRequest:
    inline = infer_pb2.InlinePicture(media_type="image/png", data=b"x")
    return infer_pb2.InferRequest(frame=infer_pb2.InferFrame(id=str(number), inline=inline))


OPEN = infer_pb2.InferRequest(open=infer_pb2.OpenInfer(model="det"))


@pytest.mark.parametrize(
    ("requests", "kind"),
    [
        ([], InvalidRequest),
        ([frame(1)], InvalidRequest),
        ([OPEN, OPEN], InvalidRequest),
        ([infer_pb2.InferRequest()], InvalidRequest),
        ([infer_pb2.InferRequest(open=infer_pb2.OpenInfer(model="cat"))], NotFound),
        ([infer_pb2.InferRequest(open=infer_pb2.OpenInfer(model="det", version="9"))], NotFound),
        ([infer_pb2.InferRequest(open=infer_pb2.OpenInfer())], InvalidRequest),
        (
            [
                infer_pb2.InferRequest(
                    open=infer_pb2.OpenInfer(model="det", parameters={"a": "b;c"})
                )
            ],
            InvalidRequest,
        ),
        (
            [
                infer_pb2.InferRequest(
                    open=infer_pb2.OpenInfer(
                        model="det", parameters={str(number): "x" for number in range(17)}
                    )
                )
            ],
            InvalidRequest,
        ),
    ],
)
async def test_protocol_errors_fail_the_stream(
    router: RunningRouter, requests: list[infer_pb2.InferRequest], kind: type[SimcloudError]
) -> None:
    with pytest.raises(kind):
        await exchange(router, requests)


async def test_sending_beyond_the_credit_is_refused(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    event = hold(endpoint, *"0123")
    waiting = asyncio.ensure_future(exchange(router, [OPEN, *map(frame, range(8))]))
    await eventually(lambda: len(endpoint.seen) == 4)
    event.set()
    with pytest.raises(Overloaded, match="were granted"):
        await waiting


async def test_the_digest_and_version_come_with_the_opening(router: RunningRouter) -> None:
    first, second, *_ = await exchange(router, [OPEN])
    assert (first.opened.version, first.opened.model_digest) == ("1", "0" * 64)
    assert second.credit.granted_frames == 4


async def test_a_model_that_is_not_for_callers_is_refused(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    catalog = write_catalog(tmp_path, model())
    settings = settings_for(catalog, endpoint.url, allowed_models=("other",))
    async with running_router(settings) as router:
        with pytest.raises(PermissionDenied):
            await answers(router, 1)


async def test_a_cancelled_stream_cancels_what_is_at_the_endpoint_and_holds_nothing(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    hold(endpoint, *"0123")
    waiting = asyncio.ensure_future(answers(router, 20))
    await eventually(lambda: endpoint.in_flight == 4)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await eventually(lambda: endpoint.disconnected == 4)
    await eventually(lambda: router.router.payloads.in_use == 0)
    assert router.router.models["det"].door.in_flight == 0


async def test_leaving_the_answers_early_ends_the_stream(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    hold(endpoint, *"123")
    async with aclosing(router.client.infer_frames("det", frames(20))) as stream:
        assert (await anext(stream)).id == "0"
        await eventually(lambda: endpoint.in_flight == 3)
    await eventually(lambda: endpoint.in_flight == 0)


async def test_an_error_of_the_callers_frames_is_the_callers_again(
    router: RunningRouter,
) -> None:
    async def broken() -> AsyncIterator[Frame]:
        yield Frame("a", PICTURE)
        raise RuntimeError("the camera fell down")

    with pytest.raises(RuntimeError, match="the camera fell down"):
        _ = [answer async for answer in router.client.infer_frames("det", broken())]


async def test_a_drain_answers_what_was_taken_then_says_so(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    event = hold(endpoint, *"01")
    catalog = write_catalog(tmp_path, model())
    got: list[str] = []
    may_end = asyncio.Event()

    async def endless() -> AsyncIterator[Frame]:
        async for each in frames(2):
            yield each
        await may_end.wait()

    async def consume(router: RunningRouter) -> None:
        async for answer in router.client.infer_frames("det", endless()):
            assert answer.ok
            got.append(answer.id)

    async with running_router(settings_for(catalog, endpoint.url)) as router:
        consuming = asyncio.ensure_future(consume(router))
        await eventually(lambda: endpoint.in_flight == 2)
        await router.router.drain.begin()
        assert got == []
        event.set()
        with pytest.raises(NotReady, match="shutting down"):
            await consuming
    assert got == ["0", "1"]


async def test_pictures_in_memory_stay_within_the_budget(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    catalog = write_catalog(tmp_path, model())
    settings = settings_for(catalog, endpoint.url, payload_budget_bytes=1 << 20)
    large = Picture("image/png", bytes(400_000))
    async with running_router(settings) as router:
        stream = router.client.infer_frames("det", frames(20, large))
        assert all([answer.ok async for answer in stream])
        assert 400_000 <= router.router.payloads.peak <= 1 << 20
    assert endpoint.peak <= 2


async def test_a_picture_that_is_too_large_is_told_what_limits_it(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    small = {"name": "det", "kind": "sagemaker", "endpoint": "det", "max_request_bytes": 1000}
    for target, limit in (
        ({**small, "max_request_bytes": 25 << 20}, "1048576 .*payload_budget_bytes"),
        (small, "1000 .*the limit is max_request_bytes"),
    ):
        catalog = write_catalog(tmp_path, model(targets=[target]))
        settings = settings_for(catalog, endpoint.url, payload_budget_bytes=1 << 20)
        large = FrameRef(
            bucket="b", key="k", etag="", offset=0, length=2 << 20, media_type="image/png"
        )
        async with running_router(settings) as router:
            stream = router.client.infer_frames("det", frames(1, large))
            (answer,) = [answer async for answer in stream]
        assert re.search(limit, answer.message), answer.message
