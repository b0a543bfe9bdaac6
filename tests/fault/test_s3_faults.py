"""S3's faults on the wire, one by one: a shard is committed whole, begun again or refused.

Never doubled, never in part, and no upload is left behind.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from simcloud.client.uploader import CommittedShard, RunState
from simcloud.concurrency import single_error
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import RunLocation
from simcloud.errors import (
    PermissionDenied,
    SimcloudError,
    Unauthenticated,
)
from simcloud.s3.client import S3Settings
from simcloud.s3.faults import Fault, FaultKind, plan_of
from simcloud.s3.objects import ObjectStore
from simcloud.spec.plan import Plan
from simcloud.telemetry import metrics
from simcloud_uploader.metrics import RESTARTS, TAKEOVERS
from support.dataset_frames import SPEC, pack
from support.eventually import eventually
from support.s3_proxy import running_proxy
from support.s3_server import S3Server
from support.uploading import frame_of, frames_from, send_shard, small_settings, uploader_client

# Two parts and a rest.
PLAN = Plan(frames=5, frames_per_shard=5)
SHARD = PLAN.shard(0)
PART = "upload_part"
COMPLETE = "complete_multipart_upload"
CREATE = "create_multipart_upload"
REASONS = ("CONDITIONAL_CONFLICT", "INVALID_PART", "NO_SUCH_UPLOAD", "NoSuchUpload", "BAD_DIGEST")


@dataclass(frozen=True, slots=True)
class Case:
    """Faults that strike one upload, and what they must come to."""

    faults: tuple[Fault, ...]
    restarts: int = 0
    """Uploads begun again."""
    s3: dict[str, object] = field(default_factory=dict)
    """Settings of the client that the faults need."""


def of(operation: str, kind: FaultKind = FaultKind.REFUSED, **more: object) -> Fault:
    return Fault(operation, kind, **more)  # type: ignore[arg-type]


CASES: dict[str, Case] = {
    "a burst of 503 SlowDown": Case((of("*", times=3), of(PART, times=3))),
    "a connection reset in a part's body": Case((of(PART, FaultKind.CUT, times=2),)),
    "a connection refused at every kind of call": Case(
        tuple(of(name, FaultKind.UNREACHABLE) for name in (CREATE, PART, COMPLETE, "put_object"))
    ),
    "a part's answer that does not come": Case(
        (of(PART, FaultKind.GATE),), s3={"read_timeout_s": 1.0}
    ),
    "a 200 with an error at Complete, not done": Case(
        (of(COMPLETE, code="InternalError", status=200),)
    ),
    "a 200 with an error at Complete, done": Case(
        (of(COMPLETE, FaultKind.FAILED_AFTER, code="InternalError", status=200),)
    ),
    "a lost answer of Complete": Case((of(COMPLETE, FaultKind.LOST_ANSWER),)),
    "a lost answer of Create": Case((of(CREATE, FaultKind.LOST_ANSWER),)),
    "lost answers of conditional puts": Case(
        (
            of("put_object", FaultKind.LOST_ANSWER, key="*/uploads/000000/*", times=2),
            of("put_object", FaultKind.LOST_ANSWER, key="*/index/*"),
            of("put_object", FaultKind.LOST_ANSWER, key="*/manifests/*"),
            of("put_object", FaultKind.LOST_ANSWER, key="*/spec.json"),
        )
    ),
    "409 at Complete": Case(
        (of(COMPLETE, code="ConditionalRequestConflict", status=409),), restarts=1
    ),
    "409 at a conditional put": Case(
        (of("put_object", code="ConditionalRequestConflict", status=409, times=2),)
    ),
    "412 at Complete after it was done": Case(
        (of(COMPLETE, FaultKind.FAILED_AFTER, code="PreconditionFailed", status=412),)
    ),
    "InvalidPart": Case((of(COMPLETE, code="InvalidPart", status=400),), restarts=1),
    "NoSuchUpload at a part": Case(
        (of(PART, code="NoSuchUpload", status=404, after=1),), restarts=1
    ),
    "NoSuchUpload at Complete": Case((of(COMPLETE, code="NoSuchUpload", status=404),), restarts=1),
    "a damaged part, which S3 finds by its checksum": Case((of(PART, FaultKind.DAMAGED, times=2),)),
    "a damaged epoch, index and manifest": Case(
        tuple(
            of("put_object", FaultKind.DAMAGED, key=key)
            for key in ("*/uploads/*", "*/index/*", "*/manifests/*")
        )
    ),
    "listings of one row a page": Case(
        (
            of("list_objects_v2", FaultKind.SHORT_PAGES, times=1000),
            of("list_multipart_uploads", FaultKind.SHORT_PAGES, times=1000),
        )
    ),
    "answers that end in their middle": Case(
        (
            of("list_objects_v2", FaultKind.HALF_ANSWER, times=2),
            of(CREATE, FaultKind.HALF_ANSWER),
            of(COMPLETE, FaultKind.HALF_ANSWER),
        )
    ),
    "credentials that expire": Case((of(PART, code="ExpiredToken", status=400, times=2),)),
    "a slow line": Case((of(PART, FaultKind.THROTTLED, bytes_per_s=8 << 20, times=3),)),
    "a full disk for a moment": Case(
        (
            of(PART, code="InsufficientStorage", status=507, times=2),
            of(COMPLETE, code="InternalError", status=500),
        )
    ),
}  # fmt: skip


@pytest.fixture
def location(bucket: str) -> RunLocation:
    return RunLocation(bucket=bucket, prefix="faults", run="run")


async def upload(s3: S3Settings, location: RunLocation, **settings: object) -> CommittedShard:
    """Creates the run, sends its one shard, publishes."""
    async with single_error(), uploader_client(small_settings(s3, **settings)) as (client, _):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        committed = await send_shard(client, location, SHARD, make=made)
        published = await client.publish_run(location)
    assert published.summary.state is RunState.PUBLISHED
    assert published.summary.stored_frames == 10
    return committed


def made(frame: int, camera: str) -> EncodedFrame:
    return frame_of(frame, camera, plan=PLAN)


async def assert_whole(store: ObjectStore, location: RunLocation) -> None:
    """The shard as it was sent, its index and manifest, and nothing else but the documents."""
    expected, _, _ = pack(list(frames_from(SHARD.first, SHARD.end, made)))
    assert (await store.get(location.bucket, location.shard_key(0))).data == expected
    keys = {row.key async for row in store.list_keys(location.bucket, location.root)}
    kept = {key for key in keys if not key.startswith(location.uploads_prefix)}
    assert kept == {
        location.shard_key(0),
        location.index_key(0),
        location.spec_key,
        location.plan_key(1),
        location.manifest_key(1),
    }
    assert [item async for item in store.list_uploads(location.bucket, location.root)] == []


def restarts() -> float:
    return sum(metrics.value_of(RESTARTS, {"reason": reason}) for reason in REASONS)


def takeovers() -> float:
    return sum(metrics.value_of(TAKEOVERS, {"upload": kind}) for kind in ("continued", "new"))


@pytest.mark.parametrize("name", CASES)
async def test_a_shard_is_committed_whole_and_once_in_spite_of(
    name: str, s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    case = CASES[name]
    plan = plan_of(*case.faults)
    before, taken_over = restarts(), takeovers()
    async with running_proxy(s3_server.settings, plan=plan) as proxy:
        await upload(proxy.settings.model_copy(update=case.s3), location)
    assert all(fault.hits for fault in case.faults)
    # A stream whose client has closed its side can't be told to send again: it is opened anew, and
    # its upload is gone on with. Each loss of an upload is one of the two.
    gone_on = takeovers() - taken_over if case.restarts else 0
    assert restarts() - before + gone_on == case.restarts
    await assert_whole(store, location)


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (of(PART, code="RequestTimeTooSkewed", status=403), Unauthenticated, "clock"),
        (of(PART, code="AccessDenied", status=403), PermissionDenied, "policy"),
    ],
    ids=["a wrong clock", "no right"],
)
async def test_what_no_retry_cures_ends_the_upload_at_once_and_says_what_to_do(
    s3_server: S3Server,
    store: ObjectStore,
    location: RunLocation,
    fault: Fault,
    error: type[SimcloudError],
    words: str,
) -> None:
    async with running_proxy(s3_server.settings, plan=plan_of(fault)) as proxy:
        with pytest.raises(error, match=words):
            await upload(proxy.settings, location)
    assert fault.hits == 1
    assert await store.find(location.bucket, location.index_key(0)) is None
    await upload(s3_server.settings, location)
    await assert_whole(store, location)


@pytest.mark.parametrize(
    "fault",
    [
        of(PART, code="InsufficientStorage", status=507, times=1000, after=1),
        of(COMPLETE, code="InternalError", status=500, times=1000),
    ],
    ids=["a full disk", "a dead Complete"],
)
async def test_while_a_fault_lasts_nothing_is_committed_and_afterwards_the_upload_goes_on(
    s3_server: S3Server, store: ObjectStore, location: RunLocation, fault: Fault
) -> None:
    async with (
        running_proxy(s3_server.settings, plan=plan_of(fault)) as proxy,
        asyncio.TaskGroup() as tasks,
    ):
        given_up = tasks.create_task(upload(proxy.settings, location))
        await eventually(lambda: fault.hits >= 2, within_s=30, what="the fault")
        given_up.cancel()
    assert await store.find(location.bucket, location.shard_key(0)) is None
    assert await store.find(location.bucket, location.index_key(0)) is None
    await upload(s3_server.settings, location)
    await assert_whole(store, location)


async def test_expired_credentials_are_renewed_in_the_middle_of_an_upload(
    s3_server: S3Server,
    store: ObjectStore,
    location: RunLocation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As with a role: the SDK asks its source again, here a process, and the upload goes on."""
    answer = tmp_path / "credentials.json"
    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = cat {answer}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))

    def give(key: str) -> None:
        # soon over, so that the SDK asks again before each request
        document = {"Version": 1, "AccessKeyId": key, "SecretAccessKey": "s"}
        answer.write_text(json.dumps({**document, "Expiration": soon()}))

    give("OLD")
    gate = of(PART, FaultKind.GATE, after=1)
    async with running_proxy(s3_server.settings, plan=plan_of(gate)) as proxy:
        proxy.signs_anew = True
        chain = proxy.settings.model_copy(
            update={"access_key_id": "", "secret_access_key": SecretStr("")}
        )
        async with asyncio.TaskGroup() as tasks:
            uploaded = tasks.create_task(upload(chain, location))
            await gate.reached.wait()
            proxy.expired_key = "OLD"
            gate.gate.set()
            await eventually(lambda: proxy.refused > 0, what="a request with the old key")
            give("NEW")
    assert uploaded.result().stored_frames == 10
    await assert_whole(store, location)


def soon() -> str:
    return (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
