"""A run in S3 from its first document to its manifest, read back and counted."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
from pyarrow import BufferReader

from simcloud.dataset.committed import collect_shards
from simcloud.dataset.index import load_index, load_shard_record, read_rows
from simcloud.dataset.index_build import build_index, rebuild_index
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.manifest import Unfinished, load_manifest
from simcloud.dataset.publishing import build_manifest, publish_manifest
from simcloud.dataset.reader import Dataset
from simcloud.dataset.rundoc import load_run, load_spec, write_plan, write_spec
from simcloud.dataset.selection import Filter
from simcloud.dataset.tar import END_OF_ARCHIVE
from simcloud.errors import Corruption, InvalidRequest, NotFound
from simcloud.rpc.status import error_from_status, grpc_status
from simcloud.s3.errors import NoSuchKey
from simcloud.s3.objects import ObjectStore
from simcloud.spec.plan import Plan
from support.dataset_frames import (
    FINGERPRINT,
    SPEC,
    SPEC_DIGEST,
    make_frame,
    pack,
    put_shard,
    put_tar,
    shard_frames,
)
from support.quarantined_run import PLAN, QUARANTINE, begin, commit_all, with_quarantine


@pytest.fixture
async def run(store: ObjectStore, bucket: str) -> RunLocation:
    """A run with its spec and plan and no shard."""
    return await begin(store, bucket)


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
