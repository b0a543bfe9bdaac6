"""What each write looks like on the wire under each setting: no network, the request is caught."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
from botocore.awsrequest import AWSPreparedRequest
from pydantic import ValidationError

from simcloud.dataset.layout import RunLocation
from simcloud.s3.client import S3Settings, open_client
from simcloud.s3.copying import CopySource, PartCopier
from simcloud.s3.multipart import Part
from simcloud.s3.objects import ObjectStore
from simcloud.s3.requests import is_short_lived

RUN = RunLocation(bucket="renders", prefix="team", run="run")
KEY = RUN.shard_key(0)
OWNED = RUN.epoch_key(0, 1)
CREDENTIALS = {"access_key_id": "AKIA", "secret_access_key": "secret"}

Call = Callable[[ObjectStore], Awaitable[object]]


async def put(store: ObjectStore) -> object:
    return await store.put("renders", KEY, b"bytes")


async def put_if_absent(store: ObjectStore) -> object:
    return await store.put_if_absent("renders", KEY, b"bytes")


async def put_epoch(store: ObjectStore) -> object:
    return await store.put_if_absent("renders", OWNED, b"{}")


async def create(store: ObjectStore) -> object:
    return await store.create_multipart("renders", KEY, metadata={}, content_type="x/y")


async def part(store: ObjectStore) -> object:
    return await store.upload_part(
        "renders", KEY, upload_id="u", number=1, data=b"bytes", crc64nvme=1
    )


async def complete(store: ObjectStore) -> object:
    parts = [Part(number=1, size_bytes=5, etag='"e"', crc64nvme=1)]
    return await store.complete_multipart(
        "renders", KEY, upload_id="u", parts=parts, size_bytes=5, crc64nvme=1
    )


async def abort(store: ObjectStore) -> object:
    await store.abort_multipart("renders", KEY, upload_id="u")
    return None


async def delete(store: ObjectStore) -> object:
    return await store.delete_many("renders", [KEY])


async def read(store: ObjectStore) -> object:
    return await store.get("renders", KEY)


async def head(store: ObjectStore) -> object:
    return await store.head("renders", KEY)


async def part_of_another(store: ObjectStore) -> object:
    source = CopySource(bucket="b", key=KEY, etag='"e"', start=0, length=5, whole=True)
    return await PartCopier(store).copy(source, bucket="renders", key=KEY, upload_id="u", number=1)


OBJECTS = (put, put_if_absent, create)
"""Calls that make an object that stays."""
OTHERS = (put_epoch, part, part_of_another, complete, abort, delete, read, head)


class _CaughtError(Exception):
    def __init__(self, request: AWSPreparedRequest) -> None:
        super().__init__(request.url)
        self.request = request


async def caught(call: Call, settings: dict[str, object]) -> tuple[str, dict[str, str]]:
    """URL and headers (names in lower case) of a call's request."""
    async with open_client(S3Settings.model_validate({**CREDENTIALS, **settings})) as client:

        def catch(request: AWSPreparedRequest, **_: object) -> None:
            raise _CaughtError(request)

        client.meta.events.register("before-send.s3.*", catch)
        with pytest.raises(_CaughtError) as error:
            await call(ObjectStore(client))
    request = error.value.request
    headers = {
        name.lower(): value.decode() if isinstance(value, bytes) else str(value)
        for name, value in request.headers.items()
    }
    return request.url, headers


ON_OBJECTS: list[tuple[dict[str, object], dict[str, str]]] = [
    ({"encryption": "AES256"}, {"x-amz-server-side-encryption": "AES256"}),
    (
        {"encryption": "aws:kms", "kms_key_id": "alias/renders", "bucket_key": True},
        {
            "x-amz-server-side-encryption": "aws:kms",
            "x-amz-server-side-encryption-aws-kms-key-id": "alias/renders",
            "x-amz-server-side-encryption-bucket-key-enabled": "true",
        },
    ),
    ({"encryption": "aws:kms:dsse"}, {"x-amz-server-side-encryption": "aws:kms:dsse"}),
    ({"storage_class": "STANDARD_IA"}, {"x-amz-storage-class": "STANDARD_IA"}),
    ({"tags": {"cost centre": "a+b", "x": ""}}, {"x-amz-tagging": "cost+centre=a%2Bb&x="}),
    ({"object_lock": {"legal_hold": True}}, {"x-amz-object-lock-legal-hold": "ON"}),
]  # fmt: skip
LASTING = {"x-amz-storage-class", "x-amz-object-lock-legal-hold"}


@pytest.mark.parametrize(("settings", "expected"), ON_OBJECTS, ids=",".join)
@pytest.mark.parametrize("call", [*OBJECTS, *OTHERS], ids=lambda call: call.__name__)
async def test_a_setting_is_in_every_request_that_makes_an_object_and_in_no_other(
    call: Call, settings: dict[str, object], expected: dict[str, str]
) -> None:
    _, headers = await caught(call, settings)
    if call is put_epoch:
        expected = {name: value for name, value in expected.items() if name not in LASTING}
    elif call not in OBJECTS:
        expected = {}
    ours = (
        "x-amz-server-side-encryption",
        "x-amz-storage-class",
        "x-amz-tagging",
        "x-amz-object-lock",
    )
    found = {name: value for name, value in headers.items() if name.startswith(ours)}
    assert found == expected
    assert "x-amz-acl" not in headers


@pytest.mark.parametrize("call", [*OBJECTS, *OTHERS], ids=lambda call: call.__name__)
async def test_owner_and_payer_are_in_every_request(call: Call) -> None:
    settings = {"expected_bucket_owner": "123456789012", "requester_pays": True}
    _, headers = await caught(call, settings)
    assert headers["x-amz-expected-bucket-owner"] == "123456789012"
    assert headers["x-amz-request-payer"] == "requester"


async def test_a_copy_says_whose_bucket_it_reads_and_who_pays_for_that() -> None:
    source = CopySource(
        bucket="b",
        key=KEY,
        etag='"e"',
        start=0,
        length=5,
        whole=False,
        owner="999999999999",
        requester_pays=True,
    )

    async def copy(store: ObjectStore) -> object:
        return await PartCopier(store).copy(
            source, bucket="renders", key=KEY, upload_id="u", number=1
        )

    _, headers = await caught(copy, {"expected_bucket_owner": "123456789012"})
    assert headers["x-amz-source-expected-bucket-owner"] == "999999999999"
    assert headers["x-amz-expected-bucket-owner"] == "123456789012"
    assert headers["x-amz-request-payer"] == "requester"
    assert headers["x-amz-copy-source-if-match"] == '"e"'
    assert headers["x-amz-copy-source-range"] == "bytes=0-4"


async def test_retention_counts_from_the_write_and_comes_with_a_checksum() -> None:
    settings: dict[str, object] = {"object_lock": {"mode": "COMPLIANCE", "retain_days": 30}}
    _, headers = await caught(put, settings)
    until = datetime.fromisoformat(headers["x-amz-object-lock-retain-until-date"])
    assert headers["x-amz-object-lock-mode"] == "COMPLIANCE"
    assert 29.9 < (until - datetime.now(UTC)).total_seconds() / 86400 <= 30
    # S3 refuses a locked PUT without one
    assert headers["x-amz-checksum-crc64nvme"]
    _, of_epoch = await caught(put_epoch, settings)
    assert "x-amz-object-lock-mode" not in of_epoch


@pytest.mark.parametrize("call", [put_if_absent, put_epoch, complete], ids=lambda c: c.__name__)
async def test_conditional_writes_stay_conditional_under_every_setting(call: Call) -> None:
    _, headers = await caught(call, {"encryption": "AES256", "tags": {"a": "b"}})
    assert headers["if-none-match"] == "*"


@pytest.mark.parametrize(
    ("settings", "host"),
    [
        ({}, "renders.s3.eu-west-1.amazonaws.com"),
        ({"path_style": True}, "s3.eu-west-1.amazonaws.com"),
        ({"dual_stack": True}, "renders.s3.dualstack.eu-west-1.amazonaws.com"),
        ({"fips": True, "region": "us-east-2"}, "renders.s3-fips.us-east-2.amazonaws.com"),
        (
            {"fips": True, "dual_stack": True, "region": "us-east-2"},
            "renders.s3-fips.dualstack.us-east-2.amazonaws.com",
        ),
        ({"accelerate": True}, "renders.s3-accelerate.amazonaws.com"),
        (
            {"accelerate": True, "dual_stack": True},
            "renders.s3-accelerate.dualstack.amazonaws.com",
        ),
    ],
)
async def test_the_endpoint_is_the_one_that_was_chosen(
    settings: dict[str, object], host: str
) -> None:
    url, _ = await caught(put, {"region": "eu-west-1", **settings})
    assert url.split("/")[2] == host


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kms_key_id": "k"}, "kms_key_id needs encryption"),
        ({"encryption": "AES256", "bucket_key": True}, "bucket_key needs"),
        ({"endpoint_url": "http://s3", "fips": True}, "leave endpoint_url empty"),
        ({"accelerate": True, "path_style": True}, "neither fips nor path_style"),
        ({"tags": {str(number): "" for number in range(11)}}, "at most 10 tags"),
        ({"tags": {"aws:x": "y"}}, "don't begin with aws:"),
        ({"tags": {"a": "<"}}, "letters, digits"),
        ({"object_lock": {"mode": "GOVERNANCE"}}, "given together"),
        ({"storage_class": "DEEP_ARCHIVE"}, "Input should be"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    settings: dict[str, object], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        S3Settings.model_validate(settings)


def test_only_what_says_who_owns_an_open_shard_is_short_lived() -> None:
    assert is_short_lived(OWNED)
    assert is_short_lived(RUN.key("uploads/fingerprint.json"))
    assert is_short_lived("team/.simcloud-probe/abc")
    lasting = [KEY, RUN.spec_key, RUN.index_key(0), RUN.manifest_key(1), RUN.aborted_key]
    assert not any(is_short_lived(key) for key in lasting)
