"""A run in S3 from its first document to its manifest, read back and counted."""

from __future__ import annotations

import random
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import BufferReader

from simcloud.accounting.reconcile import reconcile
from simcloud.accounting.repair import repair
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.index import (
    build_index,
    load_index,
    load_shard_record,
    read_rows,
    rebuild_index,
)
from simcloud.dataset.layout import ModelKey, RunLocation
from simcloud.dataset.manifest import (
    Unfinished,
    build_manifest,
    collect_shards,
    load_manifest,
    publish_manifest,
)
from simcloud.dataset.reader import Dataset
from simcloud.dataset.record import Quarantine
from simcloud.dataset.rundoc import load_run, load_spec, write_plan, write_spec
from simcloud.dataset.selection import Filter
from simcloud.dataset.tar import END_OF_ARCHIVE
from simcloud.errors import Corruption, InvalidRequest, NotFound
from simcloud.rpc.status import error_from_status, grpc_status
from simcloud.s3.errors import NoSuchKey
from simcloud.s3.objects import ObjectStore
from simcloud.scoring.predictions import to_parquet
from simcloud.scoring.types import Answer
from simcloud.spec.plan import Plan
from support.dataset_frames import (
    FINGERPRINT,
    LAYERS,
    SPEC,
    SPEC_DIGEST,
    make_frame,
    make_layer,
    pack,
    put_shard,
    put_tar,
    shard_frames,
)

PLAN = Plan(frames=6, frames_per_shard=4)
MODEL = ModelKey(model="nanodet", digest="0123456789abcdef")
QUARANTINE = Quarantine(rule="tight_box", detail="chair_00")


@pytest.fixture
async def run(store: ObjectStore, bucket: str) -> RunLocation:
    """A run with its spec and plan and no shard."""
    location = RunLocation(bucket=bucket, prefix="team/a", run="first")
    assert await write_spec(store, location, SPEC, {"commit": "abc"})
    assert await write_plan(store, location, PLAN, 1)
    return location


def with_quarantine(frame: int, camera: str) -> EncodedFrame:
    bad = frame == 5 and camera == "right"
    return make_frame(frame, camera, quarantine=QUARANTINE if bad else None)


async def publish(store: ObjectStore, run: RunLocation) -> None:
    manifest = await build_manifest(store, await load_run(store, run), provenance={"cost": 0.5})
    await publish_manifest(store, run, manifest)


async def commit_all(store: ObjectStore, run: RunLocation) -> None:
    for shard in PLAN.shards():
        await put_shard(store, run, shard, make=with_quarantine)
    await publish(store, run)


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


async def test_a_run_is_read_back_as_it_was_written(store: ObjectStore, run: RunLocation) -> None:
    documents = await load_run(store, run)
    assert documents.spec == SPEC
    assert documents.spec_digest == SPEC_DIGEST
    assert (documents.plan, documents.generation) == (PLAN, 1)
    assert documents.provenance == {"commit": "abc"}
    assert documents.planned_frames == 12
    assert not await write_spec(store, run, SPEC, {})
    assert (await load_spec(store, run)).provenance == {"commit": "abc"}


async def test_the_newest_plan_is_in_force(store: ObjectStore, run: RunLocation) -> None:
    grown = Plan(frames=8, frames_per_shard=4)
    assert await write_plan(store, run, grown, 2)
    assert not await write_plan(store, run, PLAN, 2)
    documents = await load_run(store, run)
    assert (documents.plan, documents.generation) == (grown, 2)


async def test_a_run_that_does_not_exist_is_said_to(store: ObjectStore, bucket: str) -> None:
    location = RunLocation(bucket=bucket, prefix="", run="none")
    with pytest.raises(NotFound, match=f"there is no run s3://{bucket}/none"):
        await load_run(store, location)
    with pytest.raises(NotFound, match="not published"):
        await load_manifest(store, location)


async def test_the_index_from_memory_and_from_the_tar_in_s3_are_the_same_bytes(
    store: ObjectStore, run: RunLocation
) -> None:
    for shard in PLAN.shards():
        straight = await put_shard(store, run, shard, make=with_quarantine, with_index=False)
        assert await rebuild_index(store, run, shard) == straight


async def test_the_end_of_an_index_says_what_a_manifest_needs(
    store: ObjectStore, run: RunLocation
) -> None:
    shard = PLAN.shard(1)
    await put_shard(store, run, shard, make=with_quarantine)
    record = await load_shard_record(store, run, 1)
    head = await store.head(run.bucket, run.shard_key(1))
    assert (record.shard, record.stored_frames, record.quarantined_frames) == (shard, 3, 1)
    assert (record.tar.size_bytes, record.tar.crc64nvme, record.tar.etag) == (
        head.size_bytes,
        head.crc64nvme,
        head.etag,
    )
    assert record.fingerprints == (FINGERPRINT,)
    assert record.cameras == ("left", "right")
    with pytest.raises(NoSuchKey):
        await load_shard_record(store, run, 0)


async def test_any_parquet_reader_finds_flat_typed_parameters_and_layer_offsets(
    store: ObjectStore, run: RunLocation
) -> None:
    await put_shard(store, run, PLAN.shard(0))
    table = pq.read_table(BufferReader(await load_index(store, run, 0)))
    assert table.num_rows == 8
    # 60.0 is written as 60 in JSON; the column is a double all the same
    assert str(table.schema.field("params.camera.fov_deg").type) == "double"
    assert str(table.schema.field("params.night").type) == "bool"
    assert str(table.schema.field("params.rug.material").type) == "string"
    row = table.to_pylist()[2]
    frame = make_frame(1, "left")
    tar = (await store.get(run.bucket, run.shard_key(0))).data
    for layer, expected in zip(row["layers"], frame.layers, strict=True):
        assert tar[layer["offset"] : layer["offset"] + layer["length"]] == expected.data
    assert row["objects"][0]["box2d_tight"] == [1, 2, 5, 6]
    assert row["objects"][0]["box2d_loose"] is None


async def test_an_unfinished_run_is_not_published_and_names_its_missing_shards(
    store: ObjectStore, run: RunLocation
) -> None:
    await put_shard(store, run, PLAN.shard(1))
    documents = await load_run(store, run)
    collected = await collect_shards(store, documents)
    assert list(collected.records) == [1]
    with pytest.raises(Unfinished, match="1 shards are not committed: 0") as caught:
        await build_manifest(store, documents, provenance={})
    assert [item.subject for item in caught.value.violations] == [run.shard_key(0)]
    crossed = error_from_status(grpc_status(caught.value))
    assert type(crossed) is Unfinished
    assert vars(crossed) == vars(caught.value)


async def test_a_manifest_counts_what_s3_has_and_is_written_once(
    store: ObjectStore, run: RunLocation
) -> None:
    for shard in PLAN.shards():
        await put_shard(store, run, shard, make=with_quarantine)
    documents = await load_run(store, run)
    manifest = await build_manifest(store, documents, provenance={"cost": 0.5})
    assert (manifest.planned_frames, manifest.stored_frames, manifest.quarantined_frames) == (
        12,
        11,
        1,
    )
    assert [(item.frame, item.camera, item.rule) for item in manifest.quarantine] == [
        (5, "right", "tight_box")
    ]
    assert await publish_manifest(store, run, manifest)
    assert not await publish_manifest(store, run, manifest)
    assert await load_manifest(store, run) == manifest
    other = manifest.model_copy(update={"shards": manifest.shards[:1]})
    with pytest.raises(Corruption, match="names other shards"):
        await publish_manifest(store, run, other)


async def test_a_manifest_is_refused_when_a_tar_is_not_its_indexs(
    store: ObjectStore, run: RunLocation
) -> None:
    for shard in PLAN.shards():
        await put_shard(store, run, shard)
    await store.put(run.bucket, run.shard_key(1), b"another")
    with pytest.raises(Corruption, match=r"000001\.tar has 7 bytes"):
        await build_manifest(store, await load_run(store, run), provenance={})


async def test_a_dataset_reads_every_frame_and_any_layer(
    store: ObjectStore, run: RunLocation
) -> None:
    await commit_all(store, run)
    dataset = await Dataset.open(store, run)
    assert len(dataset.shards) == 2
    assert (await dataset.rows(1)).num_rows == 4
    expected = make_frame(2, "right")
    assert await dataset.frame(2, "right") == expected
    assert await dataset.layer(2, "right", "distance_to_camera") == expected.layers[1].data
    assert (await dataset.record(5, "right")).quarantine == QUARANTINE
    assert (await dataset.frame(5, "right")).layers == ()
    frames = [frame async for frame in dataset.frames()]
    assert frames == [
        make_frame(frame, camera)
        for frame in range(6)
        for camera in ("left", "right")
        if (frame, camera) != (5, "right")
    ]
    only = [frame async for frame in dataset.frames(annotators=["rgb"])]
    assert [frame.layers for frame in only] == [frame.layers[:1] for frame in frames]


async def test_a_dataset_iterates_by_split_and_gives_references_that_can_be_read(
    store: ObjectStore, run: RunLocation
) -> None:
    await commit_all(store, run)
    dataset = await Dataset.open(store, run)
    by_split = {
        split: [frame async for frame in dataset.frames(Filter(split=split))]
        for split in PLAN.splits
    }
    assert sum(len(frames) for frames in by_split.values()) == 11
    for split, frames in by_split.items():
        assert {PLAN.split_of(frame.frame) for frame in frames} <= {split}
    refs = [ref async for ref in dataset.refs("rgb")]
    assert len(refs) == 11
    body = await store.get(
        refs[3].bucket,
        refs[3].key,
        start=refs[3].offset,
        length=refs[3].length,
        if_match=refs[3].etag,
    )
    assert body.data == make_frame(1, "right").layers[0].data
    assert refs[3].media_type == "image/png"


async def test_of_chosen_shards_alone_indexes_and_frames_are_read(
    store: ObjectStore, run: RunLocation
) -> None:
    await commit_all(store, run)
    await store.delete_many(run.bucket, [run.index_key(0)])  # nobody asks for it
    dataset = await Dataset.open(store, run)
    chosen = Filter(shards=(1,))
    first = PLAN.shard(1).first
    frames = [frame async for frame in dataset.frames(chosen)]
    assert [frame.frame for frame in frames] == sorted(frame.frame for frame in frames)
    assert {frame.frame for frame in frames} == set(range(first, PLAN.frames))
    assert Filter().digest != chosen.digest != Filter(shards=(0, 1)).digest
    with pytest.raises(InvalidRequest, match="no shard 7, only 2"):
        await dataset.keys(Filter(shards=(1, 7)))


async def test_a_dataset_says_what_it_does_not_have(store: ObjectStore, run: RunLocation) -> None:
    await commit_all(store, run)
    dataset = await Dataset.open(store, run)
    with pytest.raises(NotFound, match="frame 6 is not in run first"):
        await dataset.frame(6, "left")
    with pytest.raises(NotFound, match="no camera 'top'; it has left, right"):
        await dataset.frame(0, "top")
    with pytest.raises(NotFound, match="the run stores no normals"):
        await dataset.layer(0, "left", "normals")
    with pytest.raises(NotFound, match="it is quarantined"):
        await dataset.layer(5, "right", "rgb")


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


async def test_an_empty_tar_is_not_a_shard(store: ObjectStore, run: RunLocation) -> None:
    await put_tar(store, run, 0, END_OF_ARCHIVE)
    with pytest.raises(Corruption, match="no frames"):
        await rebuild_index(store, run, PLAN.shard(0))


async def test_an_index_with_a_doubled_frame_can_not_be_made(
    store: ObjectStore, run: RunLocation
) -> None:
    shard = PLAN.shard(1)
    frames = shard_frames(shard)
    tar, stored, _ = pack([*frames, frames[-1]])
    obj = await put_tar(store, run, 1, tar)
    with pytest.raises(Corruption, match="frame 5 of camera right stands in it twice"):
        build_index(run.run, shard, obj, stored)


async def test_rows_can_be_read_by_column(store: ObjectStore, run: RunLocation) -> None:
    await put_shard(store, run, PLAN.shard(0))
    table = read_rows(await load_index(store, run, 0), ["frame", "split"])
    assert table.column_names == ["frame", "split"]
    assert [row["split"] for row in table.to_pylist()] == [
        PLAN.split_of(row["frame"]) for row in table.to_pylist()
    ]
