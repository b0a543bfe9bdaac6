"""Frame refs of real objects: few GETs, and nothing of it for those who may not read them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from simcloud.client.router import Frame, FrameAnswer
from simcloud.dataset.frames import FrameRef
from simcloud.s3.client import open_client
from simcloud.telemetry import metrics
from simcloud_inference_router.metrics import REF_CACHE_BYTES, REF_GET_BYTES, REF_GETS, REFS
from support.router import RunningRouter, model, running_router, settings_for, write_catalog
from support.s3_server import S3Server, running_s3_server
from support.scripted_endpoint import ScriptedEndpoint, scripted_endpoint

CONTENT = bytes(range(250)) * 400
LENGTH = 1000
FRAMES = 16


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
async def etag(s3: S3Server) -> str:
    """ETag of an object of 100,000 bytes."""
    async with open_client(s3.settings) as client:
        if not (await client.list_buckets())["Buckets"]:
            await client.create_bucket(Bucket="renders")
        put = await client.put_object(Bucket="renders", Key="run/a.tar", Body=CONTENT)
    return put["ETag"]


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    async with scripted_endpoint() as running:
        yield running


def refs(etag: str, count: int = FRAMES, *, key: str = "run/a.tar") -> list[FrameRef]:
    """Ranges one after the other, a little apart."""
    return [
        FrameRef("renders", key, etag, number * (LENGTH + 24), LENGTH, "image/png")
        for number in range(count)
    ]


async def ask(router: RunningRouter, wanted: Sequence[FrameRef]) -> list[FrameAnswer]:
    async def source() -> AsyncIterator[Frame]:
        for number, ref in enumerate(wanted):
            yield Frame(str(number), ref)

    return [answer async for answer in router.client.infer_frames("det", source())]


def bodies(endpoint: ScriptedEndpoint) -> set[bytes]:
    return {each.body for each in endpoint.seen}


async def test_frames_of_a_window_that_lie_near_each_other_are_read_together(
    endpoint: ScriptedEndpoint, tmp_path: Path, s3: S3Server, etag: str
) -> None:
    settings = settings_for(
        write_catalog(tmp_path, model()),
        endpoint.url,
        s3=s3.settings,
        allowed_buckets=("renders/run",),
        stream_window=FRAMES,
        # Long enough for all of the window to come, and ended by the bytes of all of it.
        refs={"linger_s": 1.0, "max_get_bytes": FRAMES * LENGTH},
    )
    wanted = refs(etag)
    async with running_router(settings) as router:
        got = await ask(router, wanted)
        assert [each.id for each in got if each.ok] == [str(number) for number in range(FRAMES)]
        assert bodies(endpoint) == {CONTENT[ref.offset : ref.offset + LENGTH] for ref in wanted}
        gets = metrics.value_of(REF_GETS, {})
        assert gets is not None
        assert 1 <= gets < FRAMES, "neighbours share GETs"
        assert metrics.value_of(REFS, {"source": "s3"}) == FRAMES
        read = metrics.value_of(REF_GET_BYTES, {})
        assert read is not None
        assert FRAMES * LENGTH <= read <= FRAMES * (LENGTH + 24)
        assert router.router.payloads.in_use == 0


async def test_what_is_kept_is_for_those_alone_who_may_read_it(
    endpoint: ScriptedEndpoint, tmp_path: Path, s3: S3Server, etag: str
) -> None:
    settings = settings_for(
        write_catalog(tmp_path, model()),
        endpoint.url,
        s3=s3.settings,
        refs={"cache_bytes": 1 << 20},
        allowed_callers=[{"caller": "anonymous", "buckets": ["renders/run"], "models": ["*"]}],
    )
    async with running_router(settings) as router:
        for _ in range(2):
            assert all(each.ok for each in await ask(router, refs(etag, 4)))
        assert metrics.value_of(REFS, {"source": "cache"}) == 4
        kept = metrics.value_of(REF_CACHE_BYTES, {})
        assert kept is not None
        assert kept > 4 * LENGTH
        # The bytes are there; who asks for them by another rule is refused before anyone looks.
        (refused,) = await ask(router, refs(etag, 1, key="secret/a.tar"))
        assert refused.reason == "PERMISSION_DENIED"
        by_default = settings.model_copy(update={"allowed_callers": ()})
        router.router.authorizer = by_default.authorizer()
        (refused,) = await ask(router, refs(etag, 1))
        assert refused.reason == "PERMISSION_DENIED"
        assert metrics.value_of(REFS, {"source": "cache"}) == 4


async def test_an_object_that_changed_is_not_answered_with_its_new_bytes(
    endpoint: ScriptedEndpoint, tmp_path: Path, s3: S3Server, etag: str
) -> None:
    settings = settings_for(
        write_catalog(tmp_path, model()),
        endpoint.url,
        s3=s3.settings,
        allowed_buckets=("renders",),
        refs={"cache_bytes": 1 << 20, "linger_s": 0.05},
    )
    async with running_router(settings) as router:
        assert all(each.ok for each in await ask(router, refs(etag, 2)))
        async with open_client(s3.settings) as client:
            await client.put_object(Bucket="renders", Key="run/a.tar", Body=CONTENT[::-1])
        old, new = refs(etag, 4)[:2], refs(etag, 4)[2:]
        assert all(each.ok for each in await ask(router, old)), "the bytes that its ETag names"
        assert [each.reason for each in await ask(router, new)] == ["OBJECT_CHANGED"] * 2
    assert bodies(endpoint) == {CONTENT[ref.offset : ref.offset + LENGTH] for ref in old}
