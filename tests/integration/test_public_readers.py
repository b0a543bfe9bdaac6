"""Public readers, unmodified, over HTTP from S3: what needs no code of ours."""

from __future__ import annotations

import asyncio
import urllib.request
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
import webdataset as wds
from pyarrow.fs import S3FileSystem

from simcloud.dataset.layout import RunLocation
from simcloud.dataset.record import record_from_json
from simcloud.s3.objects import ObjectStore
from simcloud.spec.plan import Plan
from support.dataset_frames import make_frame, put_shard
from support.s3_server import ACCESS_KEY, SECRET_KEY, S3Server

PLAN = Plan(frames=6, frames_per_shard=3)


@pytest.fixture
async def location(store: ObjectStore, bucket: str) -> RunLocation:
    """Two committed shards; their layers are of random bytes that their key decides."""
    run = RunLocation(bucket=bucket, prefix="public", run="run")
    for shard in PLAN.shards():
        await put_shard(store, run, shard)
    return run


async def presigned(store: ObjectStore, location: RunLocation, key: str) -> str:
    """A plain http:// URL that anyone may GET for a while."""
    return await store.client.generate_presigned_url(
        "get_object", Params={"Bucket": location.bucket, "Key": key}, ExpiresIn=300
    )


async def test_webdataset_reads_the_tars_by_presigned_urls(
    store: ObjectStore, location: RunLocation
) -> None:
    urls = [await presigned(store, location, location.shard_key(n)) for n in (0, 1)]
    assert all(url.startswith("http://") for url in urls)
    curl = [f"pipe:curl --fail --silent '{url}'" for url in urls]

    def read(shards: list[str]) -> list[dict[str, Any]]:
        return list(wds.WebDataset(shards, shardshuffle=False))

    for shards in (urls, curl):
        samples = await asyncio.to_thread(read, shards)
        assert [sample["__key__"] for sample in samples] == [f"{n:09d}" for n in range(6)]
        for number, sample in enumerate(samples):
            for camera in ("left", "right"):
                frame = make_frame(number, camera)
                for layer in frame.layers:
                    name = f"{camera}.{layer.annotator}.{layer.extension}"
                    assert sample[name] == layer.data
                assert record_from_json(sample[f"{camera}.json"]) == record_from_json(frame.record)


async def test_duckdb_queries_the_indexes_through_arrow_s_s3(
    s3_server: S3Server, location: RunLocation
) -> None:
    s3 = S3FileSystem(
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        endpoint_override=s3_server.endpoint_url,
        region="us-east-1",
    )
    path = f"{location.bucket}/{location.index_prefix}"

    def query() -> list[tuple[Any, ...]]:
        index = pyarrow.dataset.dataset(path, filesystem=s3)
        connection = duckdb.connect()
        connection.register("index", index)
        return connection.sql(
            """
            SELECT label.label, count(*), avg(label.occlusion), min(fov), max(frame)
            FROM (
                SELECT frame, "params.camera.fov_deg" AS fov, unnest(objects) AS label
                FROM index WHERE camera = 'left' AND frame > 0
            )
            GROUP BY ALL
            """
        ).fetchall()

    assert await asyncio.to_thread(query) == [("chair", 5, 0.25, 60.0, 5)]


async def test_one_layer_is_a_ranged_get_of_a_presigned_url(
    store: ObjectStore, location: RunLocation
) -> None:
    index = await store.get(location.bucket, location.index_key(1))
    table = pyarrow.parquet.read_table(pa.BufferReader(index.data))
    (row,) = [row for row in table.to_pylist() if (row["frame"], row["camera"]) == (4, "right")]
    (layer,) = [item for item in row["layers"] if item["annotator"] == "rgb"]
    url = await presigned(store, location, location.shard_key(1))
    first, last = layer["offset"], layer["offset"] + layer["length"] - 1
    request = urllib.request.Request(url, headers={"Range": f"bytes={first}-{last}"})

    def get() -> bytes:
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 206
            data: bytes = answer.read()
            return data

    expected = [item for item in make_frame(4, "right").layers if item.annotator == "rgb"]
    assert await asyncio.to_thread(get) == expected[0].data
