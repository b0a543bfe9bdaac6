"""planned = stored + quarantined, scored = stored: counted as distinct frame keys in S3.

Nothing is taken from memory or from what a process said: the plan and the spec say what there
should be; indexes, tars and predictions what there is. Whatever can't be shown to be there is
missing.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from simcloud.accounting.manifest_checks import manifest_problems
from simcloud.accounting.report import DanglingUpload, Missing, Problem, Report
from simcloud.accounting.shard_checks import ShardChecker, ShardFinding, choose_sample
from simcloud.dataset.layout import KeyKind, ModelKey, RunLocation
from simcloud.dataset.rundoc import RunDocuments, load_run
from simcloud.errors import Corruption
from simcloud.s3.errors import NoSuchKey
from simcloud.s3.objects import ObjectStore
from simcloud.s3.retrying import for_each
from simcloud.spec.plan import ShardFrames

_CONCURRENCY = 4
"""Shards looked at at once: an index of each in memory, and with ``deep`` 8 MiB of each tar."""


@dataclass(slots=True)
class _Listing:
    """One LIST of everything below the run."""

    tars: set[int] = field(default_factory=set)
    indexes: set[int] = field(default_factory=set)
    epochs: dict[int, int] = field(default_factory=dict)
    """Newest epoch by shard."""
    predictions: set[tuple[ModelKey, int]] = field(default_factory=set)
    manifests: set[int] = field(default_factory=set)
    aborted: bool = False
    foreign: list[str] = field(default_factory=list)


async def reconcile(
    store: ObjectStore,
    location: RunLocation,
    *,
    deep: bool = False,
    sample: int = 0,
    model: ModelKey | None = None,
    rng: random.Random | None = None,
) -> Report:
    """Counts a run in S3 and lists all that is missing or wrong.

    Every index is read, and every tar's size and checksum asked for (HEAD).

    Args:
        store: S3.
        location: the run.
        deep: also read every byte of every tar, check it against the CRCs of the object and of
            each layer, and make each index again from its tar.
        sample: also read the layers of this many stored frames, chosen at random.
        model: also count this model's predictions.
        rng: chooses the sample.

    Raises:
        NotFound: no such run.
        Corruption: spec.json or the plan can't be read.
        StorageError: S3 failed: nothing can be said.
    """
    documents = await load_run(store, location)
    listing = await _list(store, documents)
    checker = ShardChecker(store, documents, deep=deep)
    committed = [item for item in documents.plan.shards() if item.shard in listing.indexes]
    findings = await for_each(committed, checker.check, limit=_CONCURRENCY)
    if sample:
        chosen = choose_sample(findings, sample, rng or random.Random())  # noqa: S311 - no secret

        async def look(finding: ShardFinding) -> None:
            await checker.sample(finding, chosen.get(finding.shard.shard, []))

        await for_each(
            [item for item in findings if item.shard.shard in chosen], look, limit=_CONCURRENCY
        )
    scored, unscored, answers_problems = await _score(store, documents, listing, findings, model)
    published = documents.generation in listing.manifests
    problems = [
        *(_foreign(location, key) for key in listing.foreign),
        *(problem for finding in findings for problem in finding.problems),
        *answers_problems,
        *await manifest_problems(store, documents, findings, published=published),
    ]
    return Report(
        location=location,
        generation=documents.generation,
        published=published,
        aborted=listing.aborted,
        planned=documents.planned_frames,
        stored=sum(len(finding.stored) for finding in findings),
        quarantined=sum(len(finding.quarantined) for finding in findings),
        stored_bytes=sum(
            finding.record.tar.size_bytes for finding in findings if finding.record is not None
        ),
        model=model,
        scored=scored,
        missing=tuple(_missing(documents, listing, findings)),
        unscored=unscored,
        quarantine=tuple(row for finding in findings for row in finding.quarantined),
        problems=tuple(problems),
        dangling=await _dangling(store, location, listing),
        bytes_checked=sum(finding.bytes_checked for finding in findings),
    )


async def _list(store: ObjectStore, documents: RunDocuments) -> _Listing:
    listing = _Listing()
    async for row in store.list_keys(documents.location.bucket, documents.location.root):
        _note(listing, documents, row.key)
    return listing


def _note(listing: _Listing, documents: RunDocuments, object_key: str) -> None:
    key = documents.location.parse(object_key)
    if key is None or key.shard >= documents.plan.shard_count:
        listing.foreign.append(object_key)
        return
    match key.kind:
        case KeyKind.SHARD:
            listing.tars.add(key.shard)
        case KeyKind.INDEX:
            listing.indexes.add(key.shard)
        case KeyKind.EPOCH:
            listing.epochs[key.shard] = max(key.number, listing.epochs.get(key.shard, 0))
        case KeyKind.MANIFEST:
            listing.manifests.add(key.number)
        case KeyKind.ABORTED:
            listing.aborted = True
        case KeyKind.PREDICTIONS if key.model is not None:
            listing.predictions.add((key.model, key.shard))
        case _:
            pass


def _missing(
    documents: RunDocuments, listing: _Listing, findings: list[ShardFinding]
) -> list[Missing]:
    found = {item.shard.shard: item for item in findings}
    result = []
    for shard in documents.plan.shards():
        planned = len(shard) * len(documents.cameras)
        finding = found.get(shard.shard)
        there = len(finding.stored) + len(finding.quarantined) if finding else 0
        if there < planned:
            reason, mend = _why(documents.location, listing, shard, finding)
            result.append(
                Missing(shard=shard, frame_keys=planned - there, reason=reason, mend=mend)
            )
    return result


def _why(
    location: RunLocation, listing: _Listing, shard: ShardFrames, finding: ShardFinding | None
) -> tuple[str, str]:
    resume = f"simcloud resume {location}"
    if finding is not None:
        problem = finding.problems[0] if finding.problems else None
        return (
            problem.detail if problem else "its index has too few rows",
            problem.mend if problem else f"simcloud verify {location} --deep",
        )
    if listing.aborted:
        return "the run was aborted", "create another run with the same spec"
    if shard.shard in listing.tars:
        return "its tar is there, its index is not", f"simcloud verify {location} --repair"
    if epoch := listing.epochs.get(shard.shard):
        return f"its upload is open, epoch {epoch}: being written, or left by a dead writer", resume
    return "it was never made", resume


def _foreign(location: RunLocation, key: str) -> Problem:
    return Problem(
        where=key,
        detail="no object of this run and plan is called so",
        mend=f"look at it, then delete it; readers of {location} don't see it",
    )


async def _score(
    store: ObjectStore,
    documents: RunDocuments,
    listing: _Listing,
    findings: list[ShardFinding],
    model: ModelKey | None,
) -> tuple[int | None, tuple[Missing, ...], list[Problem]]:
    if model is None:
        return None, (), []
    from simcloud.scoring.predictions import frame_keys

    location = documents.location
    scored = 0
    unscored: list[Missing] = []
    problems: list[Problem] = []
    for finding in findings:
        shard = finding.shard.shard
        answered: list[tuple[int, str]] = []
        reason = "it was never scored"
        if (model, shard) in listing.predictions:
            key = location.prediction_key(model, shard)
            try:
                answered = list(frame_keys((await store.get(location.bucket, key)).data))
                reason = "the model gave no answer"
            except Corruption as error:
                reason = str(error)
                problems.append(_bad_answers(location, model, key, reason))
            except NoSuchKey as error:
                reason = str(error)
            extra = set(answered) - finding.stored
            # Of a lost shard nothing is stored; made again, it has the same frames.
            if extra and finding.record is not None:
                frame, camera = min(extra)
                detail = f"it answers frame {frame} of {camera}, which is not stored"
                problems.append(_bad_answers(location, model, key, detail))
            if len(set(answered)) != len(answered):
                problems.append(_bad_answers(location, model, key, "a frame has two rows"))
        here = len(finding.stored & set(answered))
        scored += here
        if here < len(finding.stored):
            unscored.append(
                Missing(
                    shard=finding.shard,
                    frame_keys=len(finding.stored) - here,
                    reason=reason,
                    mend=f"simcloud score {location} --model {model.model}",
                )
            )
    return scored, tuple(unscored), problems


def _bad_answers(location: RunLocation, model: ModelKey, key: str, detail: str) -> Problem:
    name = f"{location} --model {model.model}"
    mend = f"simcloud verify {name} --discard-broken; simcloud score {name}"
    return Problem(where=key, detail=detail, mend=mend, discard=(key,))


async def _dangling(
    store: ObjectStore, location: RunLocation, listing: _Listing
) -> tuple[DanglingUpload, ...]:
    found = []
    async for upload in store.list_uploads(location.bucket, location.root):
        key = location.parse(upload.key)
        committed = key is not None and key.kind is KeyKind.SHARD and key.shard in listing.indexes
        found.append(
            DanglingUpload(
                key=upload.key,
                upload_id=upload.upload_id,
                initiated=upload.initiated,
                committed=committed,
            )
        )
    return tuple(found)
