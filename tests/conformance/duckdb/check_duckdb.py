"""DuckDB's own reader of ``s3://`` and ``http://``, unmodified, on a run's indexes.

Not among the tests of every run: its environment is 100 MB. ``make conformance`` names it.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from simcloud.dataset.layout import RunLocation
from simcloud.s3.objects import ObjectStore
from simcloud.spec.plan import Plan
from support.conformance import client_python, output_of
from support.dataset_frames import put_shard
from support.s3_server import ACCESS_KEY, SECRET_KEY, S3Server

CLIENT = Path(__file__).with_name("query.py")
PLAN = Plan(frames=6, frames_per_shard=3)


async def test_duckdb_queries_the_indexes_by_s3_and_by_presigned_http(
    s3_server: S3Server, store: ObjectStore, bucket: str
) -> None:
    run = RunLocation(bucket=bucket, prefix="public", run="run")
    for shard in PLAN.shards():
        await put_shard(store, run, shard)
    url = await store.client.generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": run.index_key(1)}, ExpiresIn=300
    )
    assert url.startswith("http://")
    python = await asyncio.to_thread(client_python, CLIENT.parent)
    endpoint = s3_server.endpoint_url.removeprefix("http://")
    indexes = f"s3://{bucket}/{run.index_prefix}"
    printed = await output_of(python, CLIENT, endpoint, ACCESS_KEY, SECRET_KEY, indexes, url)
    answers = json.loads(printed.splitlines()[-1])
    assert answers["s3"] == [["chair", 5, 0.25, 60.0, 5]]
    assert answers["http"] == [["chair", 3, 0.25, 60.0, 5]]
