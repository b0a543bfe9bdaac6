from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from simcloud.client.router import Frame
from simcloud.dataset.frames import FrameRef
from simcloud.s3.client import open_client
from support.router import model, running_router, settings_for, write_catalog
from support.s3_server import S3Server, running_s3_server
from support.scripted_endpoint import ScriptedEndpoint


async def frames(count: int, picture: FrameRef) -> AsyncIterator[Frame]:
    for number in range(count):
        yield Frame(str(number), picture)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
async def stored(s3: S3Server) -> str:
    """Puts an object of 1,000 bytes into a bucket; its ETag."""
    async with open_client(s3.settings) as client:
        existing = await client.list_buckets()
        if not existing["Buckets"]:
            await client.create_bucket(Bucket="renders")
        put = await client.put_object(Bucket="renders", Key="run/a.tar", Body=bytes(range(250)) * 4)
    return put["ETag"]


def ref(stored_etag: str, **changes: object) -> FrameRef:
    values = {
        "bucket": "renders",
        "key": "run/a.tar",
        "etag": stored_etag,
        "offset": 10,
        "length": 5,
        "media_type": "image/png",
        **changes,
    }
    return FrameRef(**values)  # type: ignore[arg-type]


async def test_a_ref_is_read_by_range_and_sent(
    endpoint: ScriptedEndpoint, tmp_path: Path, s3: S3Server, stored: str
) -> None:
    catalog = write_catalog(tmp_path, model())
    settings = settings_for(catalog, endpoint.url, s3=s3.settings, allowed_buckets=("renders/run",))
    async with running_router(settings) as router:
        stream = router.client.infer_frames("det", frames(3, ref(stored)))
        got = [answer async for answer in stream]
    assert all(answer.ok and answer.fetch_s > 0 for answer in got), got
    assert [seen.body for seen in endpoint.seen] == [bytes(range(10, 15))] * 3


@pytest.mark.parametrize(
    ("changes", "code", "reason"),
    [
        ({"etag": '"other"'}, 9, "OBJECT_CHANGED"),
        ({"key": "run/none.tar"}, 5, "NO_SUCH_KEY"),
        ({"offset": 5000}, 15, "RANGE_BEYOND_END"),
        ({"offset": 998}, 15, "CORRUPTION"),
        ({"length": 0}, 3, "INVALID_REQUEST"),
        ({"length": 7 << 20}, 3, "INVALID_REQUEST"),
        ({"bucket": "secrets"}, 7, "PERMISSION_DENIED"),
        ({"key": "elsewhere/a.tar"}, 7, "PERMISSION_DENIED"),
        ({"key": ""}, 3, "INVALID_REQUEST"),
    ],
)
async def test_a_ref_that_cant_be_read_is_that_frames_error(
    endpoint: ScriptedEndpoint,
    tmp_path: Path,
    s3: S3Server,
    stored: str,
    changes: dict[str, object],
    code: int,
    reason: str,
) -> None:
    catalog = write_catalog(tmp_path, model())
    settings = settings_for(catalog, endpoint.url, s3=s3.settings, allowed_buckets=("renders/run",))
    async with running_router(settings) as router:
        stream = router.client.infer_frames("det", frames(1, ref(stored, **changes)))
        (answer,) = [answer async for answer in stream]
    assert (answer.code, answer.reason) == (code, reason), answer.message
    assert endpoint.seen == []
