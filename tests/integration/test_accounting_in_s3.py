"""A run in S3 counted: what is planned, stored, quarantined and scored, and what is missing."""

from __future__ import annotations

import random
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import BufferReader

from simcloud.accounting.reconcile import reconcile
from simcloud.accounting.repair import repair
from simcloud.dataset.index import load_index
from simcloud.dataset.index_build import build_index
from simcloud.dataset.layout import ModelKey, RunLocation
from simcloud.dataset.reader import Dataset
from simcloud.errors import Corruption
from simcloud.s3.objects import ObjectStore
from simcloud.scoring.predictions import to_parquet
from simcloud.scoring.types import Answer
from support.dataset_frames import (
    LAYERS,
    make_frame,
    make_layer,
    pack,
    put_shard,
    put_tar,
    shard_frames,
)
from support.quarantined_run import PLAN, begin, commit_all, publish

MODEL = ModelKey(model="nanodet", digest="0123456789abcdef")


@pytest.fixture
async def run(store: ObjectStore, bucket: str) -> RunLocation:
    """A run with its spec and plan and no shard."""
    return await begin(store, bucket)


async def score(
    store: ObjectStore, run: RunLocation, shard: int, keys: list[tuple[int, str]]
) -> None:
    answers = [
        Answer(
            frame=frame,
            camera=camera,
            code=0,
            reason="",
            message="",
            detections=(),
            target="t",
            attempts=1,
            queue_s=0.0,
            fetch_s=0.0,
            target_s=0.0,
            total_s=0.0,
        )
        for frame, camera in keys
    ]
    data = to_parquet(answers, model=MODEL.model, model_digest=MODEL.digest)
    await store.put(run.bucket, run.prediction_key(MODEL, shard), data)


async def test_a_complete_run_without_quarantine_is_ok(
    store: ObjectStore, run: RunLocation
) -> None:
    for shard in PLAN.shards():
        await put_shard(store, run, shard)
    await publish(store, run)
    report = await reconcile(store, run, deep=True, sample=3)
    assert report.problems == ()
    assert report.ok
    assert (report.planned, report.stored, report.quarantined) == (12, 12, 0)
    assert report.bytes_checked > report.stored_bytes
    assert report.published


async def test_a_quarantined_frame_is_complete_with_quarantine_but_not_ok(
    store: ObjectStore, run: RunLocation
) -> None:
    await commit_all(store, run)
    report = await reconcile(store, run)
    assert (report.planned, report.stored, report.quarantined) == (12, 11, 1)
    assert not report.ok
    assert report.complete_with_quarantine
    assert [(row.frame, row.camera, row.detail) for row in report.quarantine] == [
        (5, "right", "chair_00")
    ]


async def test_missing_shards_are_named_with_why_and_what_mends_them(
    store: ObjectStore, run: RunLocation
) -> None:
    await put_shard(store, run, PLAN.shard(0), with_index=False)
    await store.put(run.bucket, run.epoch_key(1, 3), b"{}")
    upload = await store.create_multipart(
        run.bucket, run.shard_key(1), metadata={}, content_type="application/x-tar"
    )
    report = await reconcile(store, run)
    assert not report.complete_with_quarantine
    assert [(item.shard.shard, item.frame_keys) for item in report.missing] == [(0, 8), (1, 4)]
    assert report.missing[0].mend == f"simcloud verify {run} --repair"
    assert "epoch 3" in report.missing[1].reason
    assert report.missing[1].mend == f"simcloud resume {run}"
    assert [(item.upload_id, item.committed) for item in report.dangling] == [(upload, False)]
    assert any("not published" in problem.detail for problem in report.problems)


async def test_repair_writes_the_index_that_a_dead_writer_did_not(
    store: ObjectStore, run: RunLocation
) -> None:
    straight = await put_shard(store, run, PLAN.shard(0), with_index=False)
    await put_shard(store, run, PLAN.shard(1))
    assert await repair(store, run) == (0,)
    assert await load_index(store, run, 0) == straight
    assert await repair(store, run) == ()
    await publish(store, run)
    assert (await reconcile(store, run, deep=True)).ok


async def test_a_tar_that_is_gone_or_other_makes_its_frames_missing(
    store: ObjectStore, run: RunLocation
) -> None:
    await commit_all(store, run)
    await store.delete_many(run.bucket, [run.shard_key(0)])
    await store.put(run.bucket, run.shard_key(1), b"another")
    report = await reconcile(store, run)
    assert report.stored == 0
    assert [item.frame_keys for item in report.missing] == [8, 4]
    assert "does not exist" in report.missing[0].reason
    assert "has 7 bytes" in report.missing[1].reason


async def test_only_reading_every_byte_finds_a_flipped_bit_behind_true_checksums(
    store: ObjectStore, run: RunLocation
) -> None:
    """A tar whose layer was damaged before it was sent: S3's CRC is right, the layer's isn't."""
    shard = PLAN.shard(0)
    tar, stored, _ = pack(shard_frames(shard))
    damaged = bytearray(tar)
    damaged[stored[3].layers[1].offset] ^= 1
    obj = await put_tar(store, run, 0, bytes(damaged))
    index = build_index(run.run, shard, obj, stored)
    await store.put(run.bucket, run.index_key(0), index)
    await put_shard(store, run, PLAN.shard(1))
    await publish(store, run)
    assert (await reconcile(store, run)).ok
    report = await reconcile(store, run, deep=True)
    assert [problem.where for problem in report.problems] == [
        f"{run.shard_key(0)}:{stored[3].layers[1].member}"
    ]
    sampled = await reconcile(store, run, sample=12, rng=random.Random(1))
    assert len(sampled.problems) == 1
    dataset = await Dataset.open(store, run)
    with pytest.raises(Corruption, match="not what its CRC says"):
        await dataset.layer(1, "right", "distance_to_camera")


async def test_an_index_that_is_not_of_its_tar_is_found_by_making_it_again(
    store: ObjectStore, run: RunLocation
) -> None:
    shard = PLAN.shard(0)
    tar, stored, _ = pack(shard_frames(shard))
    obj = await put_tar(store, run, 0, tar)
    other = make_frame(0, "left", layers=[make_layer(name, b"x") for name in LAYERS])
    lying = [replace(stored[0], record=other.record), *stored[1:]]
    await store.put(run.bucket, run.index_key(0), build_index(run.run, shard, obj, lying))
    await put_shard(store, run, PLAN.shard(1))
    # the two records differ in their layers' sizes only, which stand in `record_length`
    report = await reconcile(store, run, deep=True)
    assert any("its rows are not those of the tar" in item.detail for item in report.problems)


async def test_a_row_that_is_there_twice_hides_no_missing_frame(
    store: ObjectStore, run: RunLocation
) -> None:
    await commit_all(store, run)
    shard = PLAN.shard_count - 1
    key = run.index_key(shard)
    table = pq.read_table(BufferReader((await store.get(run.bucket, key)).data))
    # The last row is the quarantined one; the first goes, the last comes twice.
    forged = pa.concat_tables([table.slice(1), table.slice(len(table) - 1)])
    sink = pa.BufferOutputStream()
    pq.write_table(forged, sink)
    await store.put(run.bucket, key, sink.getvalue().to_pybytes())
    report = await reconcile(store, run)
    assert (report.stored, report.quarantined) == (10, 1)
    assert [item.frame_keys for item in report.missing] == [1]
    assert any("has two rows" in item.detail for item in report.problems)


async def test_foreign_objects_are_named(store: ObjectStore, run: RunLocation) -> None:
    await commit_all(store, run)
    for path in ("shards/000002.tar", "shards/0.tar.partial", "index/000009.parquet"):
        await store.put(run.bucket, run.key(path), b"x")
    report = await reconcile(store, run)
    assert not report.complete_with_quarantine
    assert sorted(problem.where for problem in report.problems) == sorted(
        run.key(path)
        for path in ("shards/000002.tar", "shards/0.tar.partial", "index/000009.parquet")
    )


async def test_scored_is_counted_against_stored(store: ObjectStore, run: RunLocation) -> None:
    await commit_all(store, run)
    await score(store, run, 0, [(f, c) for f in range(4) for c in ("left", "right")])
    half = await reconcile(store, run, model=MODEL)
    assert (half.scored, half.stored) == (8, 11)
    assert [(item.shard.shard, item.frame_keys) for item in half.unscored] == [(1, 3)]
    assert not half.complete_with_quarantine
    await score(store, run, 1, [(4, "left"), (4, "right"), (5, "left")])
    whole = await reconcile(store, run, model=MODEL)
    assert whole.scored == whole.stored == 11
    assert whole.complete_with_quarantine
    await score(store, run, 1, [(4, "left"), (4, "right"), (5, "left"), (5, "right")])
    odd = await reconcile(store, run, model=MODEL)
    assert "frame 5 of right, which is not stored" in odd.problems[0].detail


async def test_a_manifest_that_names_other_objects_is_found(
    store: ObjectStore, run: RunLocation
) -> None:
    await commit_all(store, run)
    await store.delete_many(run.bucket, [run.shard_key(1), run.index_key(1)])
    await put_shard(store, run, PLAN.shard(1))
    report = await reconcile(store, run)
    assert ["names another object for shard 1" in item.detail for item in report.problems] == [True]
