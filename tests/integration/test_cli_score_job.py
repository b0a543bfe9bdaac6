"""The score job with a real router, a real S3 server and an endpoint that fails as told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest

from simcloud.accounting.reconcile import reconcile
from simcloud.client.router import RouterClient
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.publishing import build_manifest, publish_manifest
from simcloud.dataset.reader import Dataset
from simcloud.dataset.rundoc import load_run, write_plan, write_spec
from simcloud.errors import Corruption, InvalidRequest, NotFound, PreconditionFailed
from simcloud.s3.client import S3Settings
from simcloud.s3.objects import ObjectStore
from simcloud.scoring.events import FrameUnscored, ScoreEnded, ScoreEvent, ScoreOpened, ShardScored
from simcloud.scoring.job import ScoreJob, ScoreSettings, find_model, model_key
from simcloud.scoring.stored_predictions import load_scored
from simcloud.spec.plan import CountingRule, Plan
from simcloud.v1 import infer_pb2, infer_pb2_grpc
from support.dataset_frames import SPEC, put_shard
from support.router import RunningRouter, model, running_router, settings_for, write_catalog
from support.s3_server import S3Server
from support.scripted_endpoint import Reply, ScriptedEndpoint, error, scripted_endpoint

PLAN = Plan(frames=4, frames_per_shard=2)
SEEN = {"label": "seat", "class_id": 1, "score": 0.9, "box_xyxy_px": [1.0, 2.0, 5.0, 6.0]}
FAST = ScoreSettings(attempts=3, pause_s=0.0)


@pytest.fixture
async def dataset(store: ObjectStore, bucket: str) -> Dataset:
    """A published run of two shards, two frames and two cameras each."""
    location = RunLocation(bucket=bucket, prefix="", run="scored")
    await write_spec(store, location, SPEC, {})
    await write_plan(store, location, PLAN, 1)
    for shard in PLAN.shards():
        await put_shard(store, location, shard)
    documents = await load_run(store, location)
    manifest = await build_manifest(store, documents, provenance={})
    await publish_manifest(store, location, manifest)
    return await Dataset.open(store, location)


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    """An endpoint that sees one seat in every picture."""
    async with scripted_endpoint() as running:
        running.default = Reply(body=json.dumps({"detections": [SEEN]}).encode())
        yield running


@pytest.fixture
async def router(
    endpoint: ScriptedEndpoint, s3_server: S3Server, tmp_path: Path
) -> AsyncIterator[RunningRouter]:
    """A router in front of it."""
    catalog = write_catalog(
        tmp_path,
        model(),
        model("classes", task="image_classification"),
    )
    settings: S3Settings = s3_server.settings
    changes = {"s3": settings, "allowed_buckets": ("*",)}
    async with running_router(settings_for(catalog, endpoint.url, **changes)) as running:
        yield running


async def _score(
    store: ObjectStore, router: RunningRouter, dataset: Dataset
) -> tuple[list[ScoreEvent], ScoreEnded]:
    info = await find_model(router.client, "det")
    job = ScoreJob(store=store, router=router.client, dataset=dataset, model=info, settings=FAST)
    events = [event async for event in job.run()]
    ended = events[-1]
    assert isinstance(ended, ScoreEnded)
    return events, ended


async def test_every_stored_frame_is_scored_once_and_scoring_again_asks_nothing(
    store: ObjectStore, router: RunningRouter, dataset: Dataset, endpoint: ScriptedEndpoint
) -> None:
    events, ended = await _score(store, router, dataset)
    assert ended.scored_now == 8
    assert [event.shard for event in events if isinstance(event, ShardScored)] == [0, 1]
    asked = len(endpoint.seen)
    assert asked == 8
    assert "score_threshold=0.05" in json.dumps(dict(endpoint.seen[0].headers))

    again, ended = await _score(store, router, dataset)
    assert again[0] == ScoreOpened(model=ended.model, frames=8, scored=8)
    assert ended.scored_now == 0
    assert len(endpoint.seen) == asked

    counts = await reconcile(store, dataset.location, model=ended.model)
    assert counts.scored == counts.stored == 8
    rule = CountingRule(labels={"chair": "seat"}, min_visible_px=1)
    frames = await load_scored(store, dataset, ended.model, rule)
    assert [frame.key for frame in frames][:2] == [(0, "left"), (0, "right")]
    assert {item.label for frame in frames for item in frame.detections} == {"seat"}


async def test_a_frame_that_fails_for_good_keeps_its_shard_unscored_and_is_named(
    store: ObjectStore, router: RunningRouter, dataset: Dataset, endpoint: ScriptedEndpoint
) -> None:
    endpoint.replies.append(error(424, "ModelError", "out of memory"))
    events, ended = await _score(store, router, dataset)
    assert len(ended.unscored) == 1
    failure = ended.unscored[0]
    assert failure.key[0] in {0, 1}
    assert failure in [event for event in events if isinstance(event, FrameUnscored)]
    assert [event.shard for event in events if isinstance(event, ShardScored)] == [1]
    with pytest.raises(PreconditionFailed, match="shard 0 has no predictions"):
        await load_scored(store, dataset, ended.model, CountingRule())
    counts = await reconcile(store, dataset.location, model=ended.model)
    assert [item.shard.shard for item in counts.unscored] == [0]

    events, ended = await _score(store, router, dataset)
    assert not ended.unscored
    assert ended.scored_now == 4


async def test_an_answer_that_may_be_repeated_is_repeated(
    store: ObjectStore, router: RunningRouter, dataset: Dataset, endpoint: ScriptedEndpoint
) -> None:
    # The router retries once by itself; after that the job sends the frame again.
    endpoint.replies.extend(error(503, "ServiceUnavailable") for _ in range(3))
    _, ended = await _score(store, router, dataset)
    assert not ended.unscored
    assert ended.scored_now == 8


async def test_an_answer_that_is_no_detection_stops_the_job(
    store: ObjectStore, router: RunningRouter, dataset: Dataset, endpoint: ScriptedEndpoint
) -> None:
    endpoint.default = Reply(body=b'{"classes": []}')
    with pytest.raises(Corruption, match="has no detections"):
        await _score(store, router, dataset)


async def test_a_model_must_exist_and_find_objects(router: RunningRouter) -> None:
    with pytest.raises(NotFound, match="it has classes, det"):
        await find_model(router.client, "other")
    with pytest.raises(InvalidRequest, match="does image_classification"):
        await find_model(router.client, "classes")
    assert str(model_key(await find_model(router.client, "det"))) == "det@" + "0" * 16


class _OneAnswer(infer_pb2_grpc.InferenceRouterServiceServicer):
    """Answers the first frame of a stream, none of the others, and ends it well."""

    async def Infer(
        self,
        request_iterator: AsyncIterator[infer_pb2.InferRequest],
        context: grpc.aio.ServicerContext[infer_pb2.InferRequest, infer_pb2.InferResponse],
    ) -> None:
        answered = False
        async for request in request_iterator:
            if request.WhichOneof("message") == "open":
                credit = infer_pb2.InferCredit(granted_frames=8)
                await context.write(infer_pb2.InferResponse(credit=credit))
            elif not answered:
                answered = True
                answer = infer_pb2.InferAnswer(
                    id=request.frame.id,
                    media_type="application/json",
                    body=json.dumps({"detections": [SEEN]}).encode(),
                )
                await context.write(infer_pb2.InferResponse(answer=answer))


async def test_a_stream_that_ends_well_before_all_answers_writes_no_predictions(
    store: ObjectStore, router: RunningRouter, dataset: Dataset
) -> None:
    info = await find_model(router.client, "det")
    server = grpc.aio.server()
    infer_pb2_grpc.add_InferenceRouterServiceServicer_to_server(_OneAnswer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with RouterClient.connect(f"127.0.0.1:{port}") as client:
            job = ScoreJob(store=store, router=client, dataset=dataset, model=info, settings=FAST)
            events = [event async for event in job.run()]
    finally:
        await server.stop(None)
    ended = events[-1]
    assert isinstance(ended, ScoreEnded)
    assert {failure.reason for failure in ended.unscored} == {"NO_ANSWER"}
    # Three attempts brought three of each shard's four frames.
    assert len(ended.unscored) == 2
    assert not any(isinstance(event, ShardScored) for event in events)
