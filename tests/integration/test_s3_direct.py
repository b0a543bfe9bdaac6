"""S3 without the SDK: on a real server, over TLS, and where the SDK must go on after all."""

from __future__ import annotations

import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from aiohttp import web
from pydantic import SecretStr

from simcloud.concurrency.retry import Backoff
from simcloud.s3 import checksums
from simcloud.s3.body import Pieces
from simcloud.s3.client import S3Settings
from simcloud.s3.direct import ANSWER_BYTES
from simcloud.s3.errors import (
    BadDigest,
    ExpiredCredentials,
    NoAnswer,
    NoSuchKey,
    NoSuchUpload,
    ObjectChanged,
    RangeBeyondEnd,
    ServerFailed,
)
from simcloud.s3.faults import Fault, FaultKind, plan_of
from simcloud.s3.multipart import Part
from simcloud.s3.objects import ObjectStore, open_store
from simcloud.s3.retrying import RetryPolicy
from support.certificates import make_certificates
from support.http_site import http_site
from support.s3_proxy import running_proxy
from support.s3_server import S3Server

QUICK = RetryPolicy(attempts=4, backoff=Backoff(base_s=0.001, cap_s=0.002))
MIB = 1 << 20
KEY = "run 1/\u00fc+~*'()/000000.tar"
DATE = "Sat, 21 Nov 2026 20:00:00 GMT"


@asynccontextmanager
async def watched(
    settings: S3Settings, *, retry: RetryPolicy = QUICK
) -> AsyncIterator[tuple[ObjectStore, list[str]]]:
    """A store, and the operations that its SDK makes requests of."""
    made: list[str] = []

    def note(operation_name: str, **_: object) -> None:
        made.append(operation_name)

    async with open_store(settings, retry=retry) as opened:
        opened.client.meta.events.register("request-created.s3", note)
        yield opened, made


async def send(store: ObjectStore, bucket: str, *sizes: int) -> bytes:
    """An object of parts, each of several pieces."""
    upload_id = await store.create_multipart(
        bucket, KEY, metadata={"simcloud-writer": "run/0/1"}, content_type="application/x-tar"
    )
    data = b""
    parts = []
    for number, size in enumerate(sizes, 1):
        part = random.Random(number).randbytes(size)
        cuts = sorted({0, size, *(random.Random(number).randrange(size) for _ in range(9))})
        view = memoryview(part)
        pieces = Pieces(view[a:b] for a, b in pairwise(cuts))
        crc = checksums.crc64nvme(part)
        etag = await store.upload_part(
            bucket, KEY, upload_id=upload_id, number=number, data=pieces, crc64nvme=crc
        )
        parts.append(Part(number=number, size_bytes=size, etag=etag, crc64nvme=crc))
        data += part
    await store.complete_multipart(
        bucket,
        KEY,
        upload_id=upload_id,
        parts=parts,
        size_bytes=len(data),
        crc64nvme=checksums.crc64nvme(data),
    )
    return data


@pytest.mark.parametrize("unsigned", [True, False])
async def test_a_bucket_that_the_sdk_has_been_to_is_gone_to_without_it(
    s3_server: S3Server, bucket: str, unsigned: bool
) -> None:
    settings = s3_server.settings.model_copy(update={"unsigned_payload_over_http": unsigned})
    async with watched(settings) as (store, made):
        assert await store.find(bucket, KEY) is None
        assert made == ["HeadObject"]
        data = await send(store, bucket, 5 * MIB + 3, 1000)
        info = await store.head(bucket, KEY)
        first = await store.put_if_absent(bucket, "epoch.json", b"{}")
        again = await store.put_if_absent(bucket, "epoch.json", b"{}")
        second = await store.put(bucket, "epoch.json", b"[]", if_match=first.etag)
        with pytest.raises(ObjectChanged) as changed:
            await store.put(bucket, "epoch.json", b"", if_match=first.etag)
        assert (await store.get(bucket, "epoch.json")).data == b"[]"
        tail = await store.get_tail(bucket, KEY, 9)
        with pytest.raises(RangeBeyondEnd):
            await store.get(bucket, "epoch.json", start=9, length=1)
        with pytest.raises(NoSuchKey):
            await store.get(bucket, "none")
        with pytest.raises(NoSuchUpload):
            await store.upload_part(
                bucket,
                KEY,
                upload_id="none",
                number=1,
                data=b"a",
                crc64nvme=checksums.crc64nvme(b"a"),
            )
        abandoned = await store.create_multipart(bucket, "a b/+", metadata={}, content_type="a/b")
        assert await store.list_parts(bucket, "a b/+", upload_id=abandoned) == []
        await store.abort_multipart(bucket, "a b/+", upload_id=abandoned)
        with pytest.raises(NoSuchUpload):
            await store.list_parts(bucket, "a b/+", upload_id=abandoned)
        found = {row.key: row async for row in store.list_keys(bucket, "")}
        folders = [name async for name in store.list_folders(bucket, "run 1/")]
    assert made == ["HeadObject"]
    assert set(found) == {KEY, "epoch.json"}
    assert (found[KEY].size_bytes, found[KEY].etag) == (len(data), info.etag)
    assert found[KEY].last_modified == info.last_modified
    assert folders == [KEY.split("/")[1]]
    assert (info.size_bytes, info.crc64nvme) == (len(data), checksums.crc64nvme(data))
    assert info.metadata == {"simcloud-writer": "run/0/1"}
    assert (tail.data, tail.info.size_bytes) == (data[-9:], len(data))
    assert (first.created, again.created) == (True, False)
    assert second != first.etag
    assert changed.value.http_status == 412
    assert changed.value.request_id


async def test_a_part_that_is_not_what_its_checksum_says_is_refused(
    s3_server: S3Server, bucket: str
) -> None:
    async with watched(s3_server.settings) as (store, made):
        await store.put(bucket, "first", b"")
        upload_id = await store.create_multipart(bucket, KEY, metadata={}, content_type="a/b")
        made.clear()
        with pytest.raises(BadDigest):
            await store.upload_part(
                bucket, KEY, upload_id=upload_id, number=1, data=b"bytes", crc64nvme=1
            )
    assert made == []


async def test_an_object_that_is_too_large_to_hold_is_read_by_the_sdk(
    s3_server: S3Server, bucket: str
) -> None:
    async with watched(s3_server.settings) as (store, made):
        await store.put(bucket, "large", bytes(ANSWER_BYTES + 1))
        made.clear()
        assert len((await store.get(bucket, "large")).data) == ANSWER_BYTES + 1
        assert made == ["GetObject"]
        end = await store.get(bucket, "large", start=1, length=ANSWER_BYTES)
        assert len(end.data) == ANSWER_BYTES
    assert made == ["GetObject"]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


async def test_over_tls_the_authorities_are_those_of_the_sdk(
    s3_server: S3Server, bucket: str, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    async with running_proxy(s3_server.settings, tls=tls) as proxy:
        async with watched(proxy.settings) as (store, made):
            with pytest.raises(NoAnswer):
                await store.put(bucket, "first", b"bytes")
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates / "ca.pem"))
        async with watched(proxy.settings) as (store, made):
            await store.put(bucket, "first", b"bytes")
            data = await send(store, bucket, 5 * MIB, 10)
            assert (await store.get_tail(bucket, KEY, 20)).data == data[-20:]
    assert made == ["PutObject"]


async def test_a_lost_or_refused_direct_request_is_tried_again_as_any_other(
    s3_server: S3Server, bucket: str
) -> None:
    faults = [
        Fault("put_object", FaultKind.LOST_ANSWER, after=1),
        Fault("put_object", FaultKind.REFUSED, after=1),
        Fault("head_object", FaultKind.UNREACHABLE),
        Fault("upload_part", FaultKind.DAMAGED),
        Fault("upload_part", FaultKind.CUT),
    ]
    async with (
        running_proxy(s3_server.settings, plan=plan_of(*faults)) as proxy,
        watched(proxy.settings) as (store, made),
    ):
        first = await store.put_if_absent(bucket, "epoch.json", b"{}")
        # It was done, and its answer lost: the nonce says that it was ours.
        etag = await store.put(bucket, "epoch.json", b"[]", if_match=first.etag)
        assert etag == (await store.head(bucket, "epoch.json")).etag
        await send(store, bucket, 5 * MIB, 10)
        assert not proxy.plan.unspent()
    assert made == ["PutObject"]


async def test_an_error_behind_a_status_of_200_is_an_error(
    s3_server: S3Server, bucket: str
) -> None:
    """As the SDK takes it, which made it a 500."""
    faults = [
        Fault("put_object", code="InternalError", status=200, after=1),
        Fault("upload_part", code="SlowDown", status=200),
    ]
    async with (
        running_proxy(s3_server.settings, plan=plan_of(*faults)) as proxy,
        watched(proxy.settings) as (store, _),
    ):
        await store.put(bucket, "epoch.json", b"{}")
        await store.put(bucket, "epoch.json", b"[]")
        assert (await store.get(bucket, "epoch.json")).data == b"[]"
        data = await send(store, bucket, 5 * MIB, 10)
        assert (await store.get_tail(bucket, KEY, 20)).data == data[-20:]
        assert not proxy.plan.unspent()


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<?xml version='1.0'?><CompleteMultipartUploadResult><ETag>",
        "<?xml version='1.0'?>" + " " * 4000 + "<Error><Code>InternalError</Code></Error>",
        "no XML",
    ],
)
async def test_a_200_of_complete_that_is_no_result_says_nothing_of_the_object(body: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.method == "POST":
            return web.Response(text=body, content_type="application/xml")
        return web.Response(headers={"etag": '"e"', "last-modified": DATE, "date": DATE})

    async with http_site(answer) as url:
        settings = S3Settings(
            endpoint_url=url, access_key_id="a", secret_access_key=SecretStr("b"), path_style=True
        )
        async with watched(settings) as (store, made):
            await store.put("renders", "key", b"")
            with pytest.raises((ServerFailed, NoAnswer)):
                await store.complete_multipart(
                    "renders",
                    "key",
                    upload_id="id",
                    parts=[Part(number=1, size_bytes=1, etag='"e"', crc64nvme=1)],
                    size_bytes=1,
                    crc64nvme=1,
                )
    assert made == ["PutObject"]


async def test_a_range_too_large_to_hold_is_asked_for_once(
    s3_server: S3Server, bucket: str
) -> None:
    async with running_proxy(s3_server.settings, plan=plan_of()) as proxy:
        async with watched(proxy.settings) as (store, made):
            await store.put(bucket, "large", bytes(ANSWER_BYTES + 2))
            made.clear()
            got = await store.get(bucket, "large", start=1, length=ANSWER_BYTES + 1)
            assert len(got.data) == ANSWER_BYTES + 1
        assert made == ["GetObject"]
        assert proxy.plan.count("get_object") == 1


async def test_a_proxy_for_http_is_the_sdks_to_go_through(
    s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with watched(s3_server.settings) as (store, made):
        with pytest.raises(NoAnswer):
            await store.head(bucket, "none")
    assert set(made) == {"HeadObject"}
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with watched(s3_server.settings) as (store, made):
        for _ in range(2):
            assert await store.find(bucket, "none") is None
    assert made == ["HeadObject"]


async def test_a_bucket_that_has_moved_is_followed_by_the_sdk() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        region = request.headers["authorization"].split("/")[2]
        asked.append(region)
        if len(asked) == 2:
            # As S3 does of a bucket that was deleted and made anew elsewhere.
            return web.Response(status=301, headers={"x-amz-bucket-region": "eu-west-1"})
        headers = {"etag": '"e"', "last-modified": DATE, "date": DATE}
        return web.Response(headers=headers)

    async with http_site(answer) as url:
        settings = S3Settings(
            endpoint_url=url, access_key_id="a", secret_access_key=SecretStr("b"), path_style=True
        )
        async with watched(settings) as (store, made):
            for _ in range(4):
                assert (await store.get("renders", "key")).info.etag == '"e"'
    # Asked by the SDK; without it, in vain; by the SDK; and without it.
    assert len(asked) == 5
    assert made == ["GetObject", "GetObject"]


async def test_expired_keys_that_stay_so_end_as_expired() -> None:
    asked = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if asked == 1:
            return web.Response(headers={"etag": '"e"', "date": DATE})
        text = "<Error><Code>ExpiredToken</Code><Message>old</Message></Error>"
        return web.Response(status=400, text=text, content_type="application/xml")

    async with http_site(answer) as url:
        settings = S3Settings(
            endpoint_url=url, access_key_id="a", secret_access_key=SecretStr("b"), path_style=True
        )
        async with watched(settings) as (store, made):
            await store.put("renders", "key", b"")
            with pytest.raises(ExpiredCredentials, match="give new ones"):
                await store.get("renders", "key")
    assert made == ["PutObject"]
    assert asked == 1 + QUICK.attempts
