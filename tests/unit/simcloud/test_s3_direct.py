"""Requests that go without the SDK are the SDK's own: no network, its request is caught."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.awsrequest import AWSRequest

from simcloud.aws.sigv4 import Credentials, SigV4Signer
from simcloud.s3.addresses import Address, address_of
from simcloud.s3.body import Pieces
from simcloud.s3.client import S3Client, S3Settings, open_client
from simcloud.s3.multipart import Part
from simcloud.s3.objects import ObjectStore
from simcloud.s3.signing import signed_headers
from simcloud.s3.wire import Operation, WireRequest, is_plain_bucket

KEYS = {"access_key_id": "AKIA", "secret_access_key": "secret"}
KEY = "team/run 1/shards/ü+~*()'!.tar"
SDKS_OWN = re.compile(r"amz-sdk-|user-agent|expect$")

Call = Callable[[ObjectStore, str], Awaitable[object]]


async def put(store: ObjectStore, key: str) -> object:
    return await store.put("renders", key, b"bytes", if_match='"etag"')


async def put_if_absent(store: ObjectStore, key: str) -> object:
    return await store.put_if_absent("renders", key, b"bytes")


async def part(store: ObjectStore, key: str) -> object:
    data = Pieces([b"bytes" * 2000, b"more"])
    return await store.upload_part(
        "renders", key, upload_id="u/+=~ 1", number=10_000, data=data, crc64nvme=1
    )


async def head(store: ObjectStore, key: str) -> object:
    return await store.head("renders", key)


async def read(store: ObjectStore, key: str) -> object:
    return await store.get("renders", key)


async def read_range(store: ObjectStore, key: str) -> object:
    return await store.get("renders", key, start=7, length=9, if_match='"etag"')


async def create(store: ObjectStore, key: str) -> object:
    metadata = {"simcloud-writer": "run/000000/1"}
    return await store.create_multipart("renders", key, metadata=metadata, content_type="a/b")


async def complete(store: ObjectStore, key: str) -> object:
    parts = [
        Part(number=1, size_bytes=5, etag='"a&<b>"', crc64nvme=1),
        Part(number=2, size_bytes=4, etag='"c"', crc64nvme=None),
    ]
    return await store.complete_multipart(
        "renders", key, upload_id="u/+=~ 1", parts=parts, size_bytes=9, crc64nvme=2
    )


async def abort(store: ObjectStore, key: str) -> object:
    await store.abort_multipart("renders", key, upload_id="u/+=~ 1")
    return None


async def list_parts(store: ObjectStore, key: str) -> object:
    return await store.list_parts("renders", key, upload_id="u/+=~ 1")


async def list_keys(store: ObjectStore, key: str) -> object:
    return [row async for row in store.list_keys("renders", key, start_after=key)]


async def list_folders(store: ObjectStore, key: str) -> object:
    return [name async for name in store.list_folders("renders", "")]


CALLS: tuple[Call, ...] = (
    put, put_if_absent, part, head, read, read_range, create, complete, abort, list_parts,
    list_keys, list_folders,
)  # fmt: skip


@dataclass(slots=True)
class Seen:
    """What the SDK made of a call."""

    arguments: dict[str, Any]
    request: AWSRequest
    operation: Operation

    @property
    def headers(self) -> dict[str, str]:
        """Names in lower case, without what the SDK says of itself."""
        found = {
            name.lower(): value.decode() if isinstance(value, bytes) else str(value)
            for name, value in self.request.headers.items()
        }
        return {name: value for name, value in found.items() if not SDKS_OWN.match(name)}


class _CaughtError(Exception):
    pass


class Sdk:
    """The SDK's client of some settings, whose requests are caught."""

    def __init__(self, client: S3Client) -> None:
        self._store = ObjectStore(client)
        self._found: list[Any] = []
        client.meta.events.register_last("provide-client-params.s3.*", self._note)
        client.meta.events.register_last("request-created.s3", self._catch)

    async def saw(self, call: Call, key: str = KEY) -> Seen:
        with pytest.raises(_CaughtError):
            await call(self._store, key)
        arguments, model, request = self._found
        return Seen(arguments, request, Operation(model))

    def _note(self, params: dict[str, Any], model: Any, **_: object) -> None:
        self._found[:] = [dict(params), model]

    def _catch(self, request: AWSRequest, **_: object) -> None:
        self._found.append(request)
        raise _CaughtError


@asynccontextmanager
async def open_sdk(settings: dict[str, object]) -> AsyncIterator[Sdk]:
    async with open_client(S3Settings.model_validate({**KEYS, **settings})) as client:
        yield Sdk(client)


async def seen(call: Call, settings: dict[str, object], *, key: str = KEY) -> Seen:
    async with open_sdk(settings) as sdk:
        return await sdk.saw(call, key)


def ours(sdk: Seen, address: Address, request: WireRequest) -> dict[str, str]:
    """Our headers for the same call, at the same second, of the same body."""
    theirs = sdk.headers
    token = theirs.get("x-amz-security-token", "")
    at = datetime.strptime(theirs["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    headers = signed_headers(
        request,
        address=address,
        key=sdk.arguments.get("Key", ""),
        payload=theirs["x-amz-content-sha256"],
        signer=SigV4Signer(region=address.region, service="s3"),
        credentials=Credentials("AKIA", "secret", token),
        now_s=at.timestamp(),
    )
    return {name: value for name, value in headers.items() if not SDKS_OWN.match(name)}


SETTINGS: list[dict[str, object]] = [
    {},
    {"region": "eu-central-1", "session_token": "token/+="},
    {"region": "eu-central-1", "dual_stack": True},
    {"region": "us-gov-west-1", "fips": True},
    {"region": "cn-north-1"},
    {"accelerate": True},
    {"path_style": True, "region": "eu-west-1"},
    {"endpoint_url": "http://127.0.0.1:8333", "path_style": True},
    {"endpoint_url": "http://127.0.0.1:8333", "path_style": True,
     "unsigned_payload_over_http": False},
    {"endpoint_url": "https://s3.example.com:9000"},
    {"encryption": "aws:kms", "kms_key_id": "alias/renders", "bucket_key": True},
    {"storage_class": "STANDARD_IA", "tags": {"cost centre": "a+b", "x": ""}},
    {"object_lock": {"mode": "GOVERNANCE", "retain_days": 3, "legal_hold": True}},
    {"expected_bucket_owner": "123456789012", "requester_pays": True},
]  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda row: ",".join(row) or "plain")
async def test_a_direct_request_is_the_sdks_own_signature_and_all(
    settings: dict[str, object],
) -> None:
    async with open_sdk(settings) as caught:
        address = address_of((await caught.saw(head)).request, KEY)
        assert address is not None
        for call in CALLS:
            check_same(await caught.saw(call), address, has_body=call is complete)


def check_same(sdk: Seen, address: Address, *, has_body: bool) -> None:
    key = sdk.arguments.get("Key", "")
    assert address_of(sdk.request, key) == address or not key
    request = sdk.operation.request(sdk.arguments)
    assert request is not None
    headers = ours(sdk, address, request)
    url, _, query = str(sdk.request.url).partition("?")
    assert url == f"{address.url}{address.path(key)}"
    assert sorted(query.replace("uploads", "uploads=").split("&")) == request.query.split("&")
    if has_body:
        written: Any = sdk.request.body
        assert request.body == written
    assert request.method == sdk.request.method
    authority = headers.pop("host")
    assert url.startswith(f"{address.scheme}://{authority}/")
    assert headers == {name: text for name, text in sdk.headers.items() if name != "host"}


@pytest.mark.parametrize(
    "key", ["a", "a//b", "./a/../b", "a%20b", "a b", "\u65e5\u672c", "a?b#c", "a&b=c;d"]
)
async def test_odd_keys_are_signed_as_they_are(key: str) -> None:
    sdk = await seen(head, {"endpoint_url": "http://127.0.0.1:8333", "path_style": True}, key=key)
    address = address_of(sdk.request, key)
    assert address == Address("http", "127.0.0.1:8333", "/renders/", "us-east-1")
    request = sdk.operation.request(sdk.arguments)
    assert request is not None
    assert ours(sdk, address, request)["authorization"] == sdk.headers["authorization"]


async def test_what_is_not_plain_stays_with_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    sdk = await seen(put, {})
    for member, value in (
        ("SSECustomerKey", "secret"),
        ("Metadata", {"name": "\u00fc"}),
        ("Metadata", {"name": "two  blanks"}),
        ("ContentType", "a\r\nb: c"),
        ("Body", Pieces),
    ):
        assert sdk.operation.request({**sdk.arguments, member: value}) is None
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    assert address_of(sdk.request, KEY) is None
    monkeypatch.setenv("NO_PROXY", "amazonaws.com")
    assert address_of(sdk.request, KEY) is not None
    sdk.request.headers["x-amz-s3session-token"] = "of a directory bucket"
    assert address_of(sdk.request, KEY) is None


def test_an_arn_is_no_bucket_to_go_to_directly() -> None:
    assert is_plain_bucket("renders.example-1")
    assert not is_plain_bucket("arn:aws:s3:eu-west-1:123456789012:accesspoint/renders")
