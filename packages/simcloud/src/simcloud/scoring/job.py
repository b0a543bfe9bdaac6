"""The score job: every stored frame of a published run through the router, once.

Predictions are one object a shard, written with ``If-None-Match`` when every frame of it was
answered: scoring the same run with the same model again goes on where it stopped, and two jobs at
once don't disturb each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from simcloud.client.router import Frame, FrameAnswer, ModelInfo, RouterClient
from simcloud.clock import SYSTEM_CLOCK, Clock
from simcloud.dataset.layout import ModelKey
from simcloud.dataset.reader import Dataset
from simcloud.errors import InvalidRequest, NotFound, SimcloudError
from simcloud.s3.objects import ObjectStore
from simcloud.scoring.decode import decode_detections
from simcloud.scoring.events import (
    FrameScored,
    FrameUnscored,
    ScoreEnded,
    ScoreEvent,
    ScoreOpened,
    ShardScored,
)
from simcloud.scoring.labels import ShardLabels, read_labels
from simcloud.scoring.stored_predictions import key_of, scored_shards, write_predictions
from simcloud.scoring.types import Answer, FrameKey

TASK = "object_detection"
NO_ANSWER = "NO_ANSWER"
"""Reason of a frame that was sent and never answered, in all attempts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSettings:
    """How a run is scored."""

    score_threshold: float = 0.05
    """Lowest confidence that the model is asked for: AP looks far below what one would act on."""
    attempts: int = 4
    """Times a frame is sent, as long as its answer says that another may succeed."""
    pause_s: float = 0.5
    """Before a second attempt; doubled each time."""


async def find_model(
    router: RouterClient, name: str, *, tasks: Sequence[str] = (TASK,)
) -> ModelInfo:
    """A model of the router's catalogue that does one of these tasks; by default, finds objects.

    Raises:
        NotFound: no such model; those there are, are named.
        InvalidRequest: it does something else.
    """
    models = {model.name: model for model in await router.list_models()}
    model = models.get(name)
    if model is None:
        known = ", ".join(sorted(models)) or "none"
        raise NotFound(f"the router has no model {name!r}; it has {known}")
    if model.task not in tasks:
        needed = " or ".join(tasks)
        raise InvalidRequest("model", f"{name} does {model.task}; this needs {needed}")
    return model


def model_key(model: ModelInfo) -> ModelKey:
    """What the model's predictions and reports are called."""
    return key_of(model.name, model.digest)


@dataclass(slots=True)
class _ShardResult:
    """Answers of one shard, and what didn't come."""

    answers: dict[FrameKey, Answer] = field(default_factory=dict)
    failed: dict[FrameKey, FrameUnscored] = field(default_factory=dict)


class ScoreJob:
    """Scores one published run with one model.

    Args:
        store: S3; predictions are written below the run.
        router: looks at the pictures, which it reads from S3 itself.
        dataset: the run.
        model: from ``find_model``.
        settings: how.
        clock: for the speed.
    """

    def __init__(
        self,
        *,
        store: ObjectStore,
        router: RouterClient,
        dataset: Dataset,
        model: ModelInfo,
        settings: ScoreSettings | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._store = store
        self._router = router
        self._dataset = dataset
        self._model = model
        self._settings = settings or ScoreSettings()
        self._clock = clock
        self.key = model_key(model)

    async def run(self) -> AsyncGenerator[ScoreEvent]:
        """Scores every shard that has no predictions; ``ScoreEnded`` is last.

        Closing the iterator drops the shard that is being looked at and nothing else.

        Raises:
            NotReady: the router was out of reach for all attempts.
            Corruption: the model's answers are no detections.
        """
        done = await scored_shards(self._store, self._dataset.location, self.key)
        shards = self._dataset.shards
        yield ScoreOpened(
            model=self.key,
            frames=sum(shard.stored_frames for shard in shards),
            scored=sum(shard.stored_frames for shard in shards if shard.shard in done),
        )
        begun, scored = self._clock.monotonic(), 0
        unscored: list[FrameUnscored] = []
        for shard in shards:
            if shard.shard in done:
                continue
            result = _ShardResult()
            labels = await read_labels(self._dataset, shard)
            async with aclosing(self._look_at(labels, result)) as events:
                async for event in events:
                    yield event
            scored += len(result.answers)
            if result.failed:
                unscored.extend(result.failed.values())
                for failure in result.failed.values():
                    yield failure
                continue
            await write_predictions(
                self._store,
                self._dataset.location,
                shard,
                list(result.answers.values()),
                model=self._model.name,
                model_digest=self._model.digest,
            )
            yield ShardScored(shard=shard.shard, frames=len(result.answers))
        yield ScoreEnded(
            model=self.key,
            scored_now=scored,
            wall_s=self._clock.monotonic() - begun,
            unscored=tuple(unscored),
        )

    async def _look_at(
        self, labels: ShardLabels, result: _ShardResult
    ) -> AsyncGenerator[FrameScored]:
        """Sends the shard's frames until each is answered or can't be."""
        remaining = [frame.key for frame in labels.frames]
        for attempt in range(self._settings.attempts):
            if attempt:
                await asyncio.sleep(self._settings.pause_s * 2.0 ** (attempt - 1))
            retry: set[FrameKey] = set()
            silent = set(remaining)
            try:
                async with aclosing(self._stream(labels, remaining)) as answers:
                    async for key, answer in answers:
                        silent.discard(key)
                        if answer.ok:
                            result.answers[key] = self._answer(key, answer)
                            result.failed.pop(key, None)
                            yield FrameScored(key=key, total_s=answer.total_s)
                        else:
                            result.failed[key] = FrameUnscored(key, answer.reason, answer.message)
                            retry |= {key} if answer.retryable else set()
            except SimcloudError as error:
                # The stream broke: what has no answer is sent again on another.
                if not error.retryable or attempt + 1 == self._settings.attempts:
                    raise
            # Also when it ended well: a shard is written with all of its frames or not at all.
            for key in silent:
                result.failed[key] = FrameUnscored(
                    key, NO_ANSWER, "the stream ended before its answer"
                )
            remaining = sorted(retry | silent)
            if not remaining:
                return

    async def _stream(
        self, labels: ShardLabels, keys: Sequence[FrameKey]
    ) -> AsyncGenerator[tuple[FrameKey, FrameAnswer]]:
        by_id = {f"{frame}.{camera}": (frame, camera) for frame, camera in keys}

        async def frames() -> AsyncIterator[Frame]:
            for identity, key in by_id.items():
                yield Frame(id=identity, picture=labels.pictures[key])

        # How many are in flight is the router's credit; the answers' order doesn't matter here.
        answers = self._router.infer_frames(
            self._model.name,
            frames(),
            ordered=False,
            parameters={"score_threshold": str(self._settings.score_threshold)},
        )
        async for answer in answers:
            yield by_id[answer.id], answer

    def _answer(self, key: FrameKey, answer: FrameAnswer) -> Answer:
        return Answer(
            frame=key[0],
            camera=key[1],
            code=answer.code,
            reason=answer.reason,
            message=answer.message,
            detections=decode_detections(
                answer.body,
                media_type=answer.media_type,
                labels=self._model.labels,
                threshold=self._settings.score_threshold,
            ),
            target=answer.target,
            attempts=answer.attempts,
            queue_s=answer.queue_s,
            fetch_s=answer.fetch_s,
            target_s=answer.target_s,
            total_s=answer.total_s,
        )
