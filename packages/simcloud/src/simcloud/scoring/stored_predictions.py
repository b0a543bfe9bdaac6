"""A run's predictions in S3: one object a shard, written once and of all its frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from simcloud.dataset.index import INDEX_TYPE
from simcloud.dataset.layout import KeyKind, ModelKey, RunLocation
from simcloud.dataset.manifest import ManifestShard
from simcloud.dataset.reader import Dataset
from simcloud.errors import Corruption, PreconditionFailed
from simcloud.s3.objects import ObjectStore
from simcloud.scoring.join import join
from simcloud.scoring.labels import read_labels
from simcloud.scoring.predictions import from_parquet, to_parquet
from simcloud.scoring.types import Answer, FrameKey, ScoredFrame
from simcloud.spec.plan import CountingRule

_KEY_DIGITS = 16
"""Digits of the model's digest in the name of its predictions: 64 bits tell models apart."""


def key_of(name: str, digest: str) -> ModelKey:
    """What the predictions of a model are called, by its name and whole digest."""
    return ModelKey(model=name, digest=digest[:_KEY_DIGITS])


async def scored_shards(store: ObjectStore, location: RunLocation, model: ModelKey) -> set[int]:
    """The shards of a run that have predictions of a model."""
    found = set()
    prefix = location.predictions_prefix(model)
    async for row in store.list_keys(location.bucket, prefix):
        key = location.parse(row.key)
        if key is not None and key.kind is KeyKind.PREDICTIONS:
            found.add(key.shard)
    return found


async def write_predictions(
    store: ObjectStore,
    location: RunLocation,
    shard: ManifestShard,
    answers: Sequence[Answer],
    *,
    model: str,
    model_digest: str,
) -> None:
    """Writes a shard's predictions, of all its frames, unless they are there.

    Args:
        store: S3.
        location: the run.
        shard: whose frames they are.
        answers: one of each stored frame.
        model: its name.
        model_digest: the whole of it.
    """
    data = to_parquet(answers, model=model, model_digest=model_digest)
    # Another job may have been faster: then its predictions stand, they are of the same model.
    await store.put_if_absent(
        location.bucket,
        location.prediction_key(key_of(model, model_digest), shard.shard),
        data,
        content_type=INDEX_TYPE,
    )


async def load_scored(
    store: ObjectStore, dataset: Dataset, model: ModelKey, rule: CountingRule
) -> list[ScoredFrame]:
    """Every stored frame with its ground truth and predictions, from S3.

    Raises:
        PreconditionFailed: a shard has no predictions of the model yet.
        Corruption: predictions and labels name different frames.
    """
    location = dataset.location
    result = []
    for shard in dataset.shards:
        key = location.prediction_key(model, shard.shard)
        if await store.find(location.bucket, key) is None:
            raise PreconditionFailed(
                f"{location}: shard {shard.shard} has no predictions of {model}: "
                f"`simcloud score {location.run} --model {model.model}` makes them"
            )
        body = await store.get(location.bucket, key)
        labels = await read_labels(dataset, shard)
        result.extend(join(labels.frames, _by_key(from_parquet(body.data)), rule))
    return result


def _by_key(answers: Sequence[Answer]) -> Mapping[FrameKey, Answer]:
    by_key = {answer.key: answer for answer in answers}
    if len(by_key) != len(answers):
        raise Corruption("a frame stands twice in its shard's predictions")
    return by_key
