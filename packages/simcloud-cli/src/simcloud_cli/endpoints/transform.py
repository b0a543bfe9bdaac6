"""A run scored by a SageMaker Batch Transform job: no endpoint, no router, the same predictions.

Pictures go beside the run (``transform_files``), the job's answers come back as the model container
wrote them, and a shard's predictions are written when every frame of it was answered, as by the
score job. The job's record is in S3 before the job is: a command that is cut off, or killed, leaves
a job that the same command finds, waits for and reads.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from simcloud.dataset.manifest import ManifestShard
from simcloud.dataset.reader import Dataset
from simcloud.errors import PreconditionFailed, SimcloudError
from simcloud.s3.objects import ObjectStore
from simcloud.scoring.job import (
    FrameScored,
    FrameUnscored,
    ScoreEnded,
    ScoreEvent,
    ScoreOpened,
    ShardScored,
    key_of,
    scored_shards,
    write_predictions,
)
from simcloud.scoring.labels import read_labels
from simcloud.scoring.types import Answer
from simcloud_cli.endpoints.aws import Aws
from simcloud_cli.endpoints.transform_answers import read_answers
from simcloud_cli.endpoints.transform_files import (
    JobRecord,
    TransformFiles,
    check_sizes,
    content_type,
)
from simcloud_cli.endpoints.transform_request import (
    ENDED,
    TransformSettings,
    billed,
    create_request,
    describe_request,
    job_name,
    model_request,
    stop_by_hand,
    stop_request,
)
from simcloud_cli.endpoints.waiting import Patience, wait_until

_STOP_WITHIN_S = 20.0


class TransformJob:
    """Scores one published run with one model, as ``ScoreJob`` does, by Batch Transform.

    Args:
        store: S3; AWS's own, since SageMaker reads it.
        dataset: the run.
        aws: where the job runs.
        model: the catalogue's name of the model.
        model_digest: its digest, 16 hex digits or more.
        settings: how.
        patience: how long the job is waited for.
        nonce: makes the names of jobs unlike each other.

    Raises:
        InvalidRequest: model and digest name no predictions, or a prefix can't be one.
    """

    def __init__(
        self,
        *,
        store: ObjectStore,
        dataset: Dataset,
        aws: Aws,
        model: str,
        model_digest: str,
        settings: TransformSettings,
        patience: Patience,
        nonce: Callable[[], str] = lambda: secrets.token_hex(4),
    ) -> None:
        self._store = store
        self._dataset = dataset
        self._aws = aws
        self._model = model
        self._digest = model_digest
        self._settings = settings
        self._patience = patience
        self._nonce = nonce
        self.key = key_of(model, model_digest)
        self._files = TransformFiles(
            store,
            dataset.location,
            self.key,
            input_prefix=settings.input_prefix,
            output_prefix=settings.output_prefix,
        )

    async def run(self) -> AsyncGenerator[ScoreEvent]:
        """Scores every shard that has no predictions; ``ScoreEnded`` is last.

        Cancelling it stops the job, which then bills no longer and has no answers.

        Raises:
            NotFound: SageMaker has no such model.
            InvalidRequest: a picture is larger than a request may be.
            PreconditionFailed: a quota, or another model's job for these predictions still runs.
            DeadlineExceeded: the job runs on; the same command waits for it again.
        """
        done = await scored_shards(self._store, self._dataset.location, self.key)
        shards = self._dataset.shards
        yield ScoreOpened(
            model=self.key,
            frames=sum(shard.stored_frames for shard in shards),
            scored=sum(shard.stored_frames for shard in shards if shard.shard in done),
        )
        clock = self._patience.clock
        began, scored = clock.monotonic(), 0
        pending = [shard for shard in shards if shard.shard not in done and shard.stored_frames]
        unscored: list[FrameUnscored] = []
        for record, batch in await self._left_over(pending):
            async with aclosing(self._finish(record, batch)) as events:
                async for event in events:
                    # What that job did not answer goes into another one, below.
                    if not isinstance(event, FrameUnscored):
                        scored += _frames(event)
                        done |= _shards(event)
                        yield event
        pending = [shard for shard in pending if shard.shard not in done]
        for batch in batches(pending, self._settings.frames_per_job):
            record = await self._begin(batch)
            async with aclosing(self._finish(record, batch)) as events:
                async for event in events:
                    scored += _frames(event)
                    if isinstance(event, FrameUnscored):
                        unscored.append(event)
                    yield event
        yield ScoreEnded(
            model=self.key,
            scored_now=scored,
            wall_s=clock.monotonic() - began,
            unscored=tuple(unscored),
        )

    async def _left_over(
        self, pending: Sequence[ManifestShard]
    ) -> list[tuple[JobRecord, list[ManifestShard]]]:
        """The job that an earlier call began, if it still has something for us."""
        record = await self._files.record()
        if record is None or not pending:
            return []
        found = await self._aws.find(describe_request(record.job))
        other = record.sagemaker_model != self._settings.sagemaker_model
        if found is not None and other and found["TransformJobStatus"] not in ENDED:
            raise PreconditionFailed(
                f"transform job {record.job} of SageMaker model {record.sagemaker_model} still "
                f"makes predictions called {self.key}: wait for it, or {stop_by_hand(record.job)}"
            )
        if found is None or other:
            await self._files.clear(record, keep_files=True)
            return []
        self._patience.say(f"transform job {record.job} was begun by an earlier call")
        return [(record, [shard for shard in pending if shard.shard in record.shards])]

    async def _begin(self, batch: Sequence[ManifestShard]) -> JobRecord:
        """Puts pictures and record into S3, then begins the job."""
        settings = self._settings
        job = job_name(self._dataset.location.run, self._nonce())
        record = JobRecord(
            job=job,
            sagemaker_model=settings.sagemaker_model,
            output_prefix=self._files.output_prefix(job),
            shards=tuple(shard.shard for shard in batch),
        )
        await self._aws.ask(model_request(settings.sagemaker_model))
        pictures = [(await read_labels(self._dataset, shard)).pictures for shard in batch]
        for refs in pictures:
            check_sizes(refs, most_bytes=settings.max_payload_mb * 1_000_000)
        names: list[str] = []
        for shard, refs in zip(batch, pictures, strict=True):
            names += await self._files.stage(self._dataset, refs)
            self._patience.say(f"shard {shard.shard}: {len(refs)} pictures beside the run")
        types = {ref.media_type for refs in pictures for ref in refs.values()}
        await self._files.write_manifest(names)
        request = create_request(
            settings,
            job=job,
            run=self._dataset.location.run,
            manifest_uri=self._files.manifest_uri,
            output_uri=self._files.output_uri(job),
            media_type=content_type(types),
        )
        self._aws.check(request)
        await self._files.keep(record)
        try:
            await self._aws.ask(request)
        except asyncio.CancelledError:
            await self._stop(record)
            raise
        return record

    async def _finish(
        self, record: JobRecord, batch: Sequence[ManifestShard]
    ) -> AsyncGenerator[FrameScored | FrameUnscored | ShardScored]:
        """Waits for a job's end and reads its answers; a shard is written whole or not at all."""
        ended = await self._ended(record)
        status = str(ended["TransformJobStatus"])
        why = str(ended.get("FailureReason") or f"the job is {status}")
        self._patience.say(f"transform job {record.job}: {status}{billed(ended)}")
        answers = await self._files.answers(record)
        if answers.others:
            self._patience.say(f"{answers.others} objects beside the answers are left alone")
        for shard in batch:
            pictures = (await read_labels(self._dataset, shard)).pictures
            results = await read_answers(self._files, record, answers, pictures, why=why)
            failures = [item for item in results if isinstance(item, FrameUnscored)]
            for failure in failures:
                yield failure
            if failures:
                continue
            await write_predictions(
                self._store,
                self._dataset.location,
                shard,
                [item for item in results if isinstance(item, Answer)],
                model=self._model,
                model_digest=self._digest,
            )
            for key in pictures:
                yield FrameScored(key=key, total_s=0.0)
            yield ShardScored(shard=shard.shard, frames=len(results))
        await self._files.clear(record, keep_files=self._settings.keep_files)

    async def _ended(self, record: JobRecord) -> dict[str, Any]:
        try:
            return await wait_until(
                lambda: self._aws.ask(describe_request(record.job)),
                done=lambda seen: seen["TransformJobStatus"] in ENDED,
                state=lambda seen: str(seen["TransformJobStatus"]),
                what=f"transform job {record.job}",
                patience=self._patience,
            )
        except asyncio.CancelledError:
            await self._stop(record)
            raise
        except SimcloudError:
            self._patience.say(
                f"transform job {record.job} goes on: the same command waits for it again, or "
                f"{stop_by_hand(record.job)}"
            )
            raise

    async def _stop(self, record: JobRecord) -> None:
        try:
            async with asyncio.timeout(_STOP_WITHIN_S):
                await self._aws.ask(stop_request(record.job))
            self._patience.say(f"transform job {record.job} is stopped: it bills no longer")
        except (SimcloudError, TimeoutError) as error:
            self._patience.say(
                f"transform job {record.job} could not be stopped ({error}) and may go on to "
                f"bill: {stop_by_hand(record.job)}"
            )


def batches(shards: Sequence[ManifestShard], most_frames: int) -> list[list[ManifestShard]]:
    """Shards in their order, as many together as have that many frames; one at least."""
    found: list[list[ManifestShard]] = []
    frames = 0
    for shard in shards:
        if not found or frames + shard.stored_frames > most_frames:
            found.append([])
            frames = 0
        found[-1].append(shard)
        frames += shard.stored_frames
    return found


def _frames(event: ScoreEvent) -> int:
    return 1 if isinstance(event, FrameScored) else 0


def _shards(event: ScoreEvent) -> set[int]:
    return {event.shard} if isinstance(event, ShardScored) else set()
