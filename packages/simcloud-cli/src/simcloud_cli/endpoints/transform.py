"""A run scored by a SageMaker Batch Transform job: no endpoint, no router, the same predictions.

Pictures go beside the run (``transform_files``), the job's answers come back as the model container
wrote them, and a shard's predictions are written when every frame of it was answered, as by the
score job. The job's record is in S3 before the job is: a command that is cut off, or killed, leaves
a job that the same command finds, waits for and reads. Several calls at once share one job: of the
record only one can be made, and of a job's name SageMaker begins one.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing

from simcloud.dataset.frames import FrameRef
from simcloud.dataset.manifest import ManifestShard
from simcloud.dataset.reader import Dataset
from simcloud.s3.objects import ObjectStore
from simcloud.scoring.events import (
    FrameScored,
    FrameUnscored,
    ScoreEnded,
    ScoreEvent,
    ScoreOpened,
    ShardScored,
)
from simcloud.scoring.labels import read_labels
from simcloud.scoring.stored_predictions import key_of, scored_shards, write_predictions
from simcloud.scoring.types import Answer, FrameKey
from simcloud_cli.endpoints.aws import Aws, Request
from simcloud_cli.endpoints.transform_answers import read_answers
from simcloud_cli.endpoints.transform_calls import TransformCalls
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
    job_name,
)
from simcloud_cli.endpoints.waiting import Patience

Pictures = Mapping[FrameKey, FrameRef]
"""Where the pictures of a shard are, by frame and camera."""


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
        self._model = model
        self._digest = model_digest
        self._settings = settings
        self._patience = patience
        self._nonce = nonce
        self.key = key_of(model, model_digest)
        self._calls = TransformCalls(
            aws, model=settings.sagemaker_model, patience=patience, predictions=str(self.key)
        )
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
            Conflict: another call began a job for these shards in the same moment.
            DeadlineExceeded: the job runs on; the same command waits for it again.
        """
        done = await self._done()
        shards = self._dataset.shards
        yield ScoreOpened(
            model=self.key,
            frames=sum(shard.stored_frames for shard in shards),
            scored=sum(shard.stored_frames for shard in shards if shard.shard in done),
        )
        clock = self._patience.clock
        began, scored = clock.monotonic(), 0
        for shard in shards:
            if shard.shard not in done and not shard.stored_frames:
                # Wholly quarantined: there is nothing to ask, and readers look for the object.
                await self._write(shard, [])
                yield ShardScored(shard=shard.shard, frames=0)
        pending = [shard for shard in shards if shard.shard not in done and shard.stored_frames]
        unscored: list[FrameUnscored] = []
        for record, batch in await self._left_over(pending):
            async with aclosing(self._finish(record, batch)) as events:
                async for event in events:
                    # What that job did not answer goes into another one, below.
                    if not isinstance(event, FrameUnscored):
                        scored += _frames(event)
                        yield event
        pending = await self._without_done(pending)
        for batch in batches(pending, self._settings.frames_per_job):
            begun = await self._begin(batch)
            if begun is None:
                continue
            async with aclosing(self._finish(*begun)) as events:
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

    async def _done(self) -> set[int]:
        return await scored_shards(self._store, self._dataset.location, self.key)

    async def _without_done(self, shards: Sequence[ManifestShard]) -> list[ManifestShard]:
        """Those that have no predictions by now: another call may work on the same ones."""
        done = await self._done()
        return [shard for shard in shards if shard.shard not in done]

    async def _left_over(
        self, pending: Sequence[ManifestShard]
    ) -> list[tuple[JobRecord, list[ManifestShard]]]:
        """The job that another call began, or was about to, if there is one to wait for."""
        record = await self._files.record()
        if record is None:
            return []
        ours = [shard for shard in self._dataset.shards if _was_given(record, shard)]
        batch = [shard for shard in ours if shard in pending]
        found = await self._calls.find(record.job)
        runs = found is not None and found["TransformJobStatus"] not in ENDED
        if not ours:
            await self._forget_foreign(record, runs=runs)
            return []
        if not batch and not (runs and pending):
            if not runs:
                await self._clear(record)
            return []
        if found is None:
            self._patience.say(f"transform job {record.job} was left before it was begun")
            await self._calls.check_model()
            await self._send(record, batch, await self._pictures(batch))
        elif not self._calls.is_ours(found):
            if runs:
                raise self._calls.other_model(found)
            await self._files.clear(record, keep_files=True)
            return []
        else:
            self._patience.say(f"transform job {record.job} was begun by an earlier call")
        return [(record, batch)]

    async def _forget_foreign(self, record: JobRecord, *, runs: bool) -> None:
        """A job with the pictures of a run that was deleted, and made again under its name."""
        self._patience.say(
            f"transform job {record.job} has pictures of an earlier run called "
            f"{self._dataset.location.run}: its answers are dropped"
        )
        if runs:
            await self._calls.stop(record.job)
        await self._clear(record)

    async def _begin(
        self, batch: Sequence[ManifestShard]
    ) -> tuple[JobRecord, list[ManifestShard]] | None:
        """Begins a job for these shards; None when another call scored them just now."""
        job = job_name(self._dataset.location.run, self._nonce())
        record = JobRecord(
            job=job,
            output_prefix=self._files.output_prefix(job),
            shards={shard.shard: shard.crc64nvme for shard in batch},
        )
        await self._calls.check_model()
        pictures = await self._pictures(batch)
        self._calls.check(self._request(record, pictures))
        await self._files.keep(record)
        # From here on no other call begins one; what an earlier one wrote is there to be seen.
        left = await self._without_done(batch)
        if not left:
            await self._clear(record)
            return None
        await self._send(record, left, {shard.shard: pictures[shard.shard] for shard in left})
        return record, left

    async def _pictures(self, batch: Sequence[ManifestShard]) -> dict[int, Pictures]:
        """The pictures of each shard, none of them too large."""
        found: dict[int, Pictures] = {}
        for shard in batch:
            refs = (await read_labels(self._dataset, shard)).pictures
            check_sizes(refs, most_bytes=self._settings.max_payload_mb * 1_000_000)
            found[shard.shard] = refs
        return found

    def _request(self, record: JobRecord, pictures: Mapping[int, Pictures]) -> Request:
        types = {ref.media_type for refs in pictures.values() for ref in refs.values()}
        return create_request(
            self._settings,
            job=record.job,
            run=self._dataset.location.run,
            manifest_uri=self._files.manifest_uri(record.job),
            output_uri=self._files.uri(record.output_prefix),
            media_type=content_type(types),
        )

    async def _send(
        self, record: JobRecord, batch: Sequence[ManifestShard], pictures: Mapping[int, Pictures]
    ) -> None:
        """Puts a recorded job's pictures into S3 and begins it, unless another call was faster.

        Each step may be repeated by any call: objects are the same, and the job's name is taken.
        """
        names: list[str] = []
        for shard in batch:
            refs = pictures[shard.shard]
            names += await self._files.stage(record.job, self._dataset, refs)
            self._patience.say(f"shard {shard.shard}: {len(refs)} pictures beside the run")
        await self._files.write_manifest(record.job, names)
        await self._calls.begin(record.job, self._request(record, pictures))

    async def _finish(
        self, record: JobRecord, batch: Sequence[ManifestShard]
    ) -> AsyncGenerator[FrameScored | FrameUnscored | ShardScored]:
        """Waits for a job's end and reads its answers; a shard is written whole or not at all."""
        ended = await self._calls.ended(record.job)
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
            # Another call that waited for this job writes predictions before it deletes answers.
            if failures and not await self._without_done([shard]):
                continue
            for failure in failures:
                yield failure
            if failures:
                continue
            await self._write(shard, [item for item in results if isinstance(item, Answer)])
            for key in pictures:
                yield FrameScored(key=key, total_s=0.0)
            yield ShardScored(shard=shard.shard, frames=len(results))
        await self._clear(record)

    async def _write(self, shard: ManifestShard, answers: Sequence[Answer]) -> None:
        await write_predictions(
            self._store,
            self._dataset.location,
            shard,
            answers,
            model=self._model,
            model_digest=self._digest,
        )

    async def _clear(self, record: JobRecord) -> None:
        await self._files.clear(record, keep_files=self._settings.keep_files)


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


def _was_given(record: JobRecord, shard: ManifestShard) -> bool:
    """Whether a job has the pictures of this very shard."""
    return record.shards.get(shard.shard) == shard.crc64nvme
