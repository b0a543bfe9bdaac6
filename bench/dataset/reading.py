"""Reading a run back from S3: ours beside webdataset, and one layer beside a bare ranged GET.

Both read the same shards from the same server in turn, every member of every frame, undecoded:
webdataset unmodified by HTTP (presigned URLs), ours by ranged GETs with every layer's CRC checked.
"""

# ruff: noqa: T201 - talks on standard output

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import webdataset

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.publishing import build_manifest, publish_manifest
from simcloud.dataset.reader import Dataset
from simcloud.dataset.rundoc import load_run, write_plan, write_spec
from simcloud.s3.client import S3Settings
from simcloud.s3.objects import ObjectStore, open_store
from simcloud.spec.plan import Plan
from support.dataset_frames import LAYERS, SPEC, make_frame, make_layer, put_shard
from support.s3_server import running_s3_server

_BUCKET = "reading"


def frame_of(layer_bytes: int) -> Callable[[int, str], EncodedFrame]:
    """Makes frames whose layers are random bytes of this size: nothing decodes them here."""

    def make(frame: int, camera: str) -> EncodedFrame:
        rng = random.Random(f"{frame}.{camera}")  # noqa: S311 - content, no secret
        layers = [make_layer(name, rng.randbytes(layer_bytes)) for name in LAYERS]
        return make_frame(frame, camera, layers=layers)

    return make


async def put_run(store: ObjectStore, plan: Plan, layer_bytes: int) -> RunLocation:
    """A published run of synthetic frames."""
    location = RunLocation(bucket=_BUCKET, prefix="", run="bench")
    await write_spec(store, location, SPEC, {})
    await write_plan(store, location, plan, 1)
    for shard in plan.shards():
        await put_shard(store, location, shard, make=frame_of(layer_bytes))
    manifest = await build_manifest(store, await load_run(store, location), provenance={})
    await publish_manifest(store, location, manifest)
    return location


async def ours(dataset: Dataset) -> int:
    """Every frame in order; returns how many."""
    count = 0
    async for frame in dataset.frames():
        count += len(frame.layers) == len(LAYERS)
    return count


def theirs(urls: list[str]) -> int:
    """Every sample in order; returns how many frame keys they held.

    Its sample is a frame with the members of all cameras: each camera has its layers and a record.
    """
    count = 0
    for item in webdataset.WebDataset(urls, shardshuffle=False, empty_check=False):
        members = [value for key, value in item.items() if not key.startswith("__")]
        count += sum(len(value) > 0 for value in members) // (len(LAYERS) + 1)
    return count


async def timed(call: Callable[[], Awaitable[int]]) -> tuple[int, float]:
    """What a call returns, and its seconds."""
    begin = time.perf_counter()
    return await call(), time.perf_counter() - begin


async def sequential(store: ObjectStore, location: RunLocation, rounds: int) -> None:
    """Prints samples/s of both."""
    dataset = await Dataset.open(store, location)
    urls = [
        await store.client.generate_presigned_url(
            "get_object", Params={"Bucket": _BUCKET, "Key": location.key(shard.path)}
        )
        for shard in dataset.shards
    ]
    rates: dict[str, list[float]] = {"simcloud": [], "webdataset": []}
    for _ in range(rounds):
        for name, call in (
            ("simcloud", lambda: ours(dataset)),
            ("webdataset", lambda: asyncio.to_thread(theirs, urls)),
        ):
            count, seconds = await timed(call)
            if count != dataset.manifest.planned_frames:
                raise RuntimeError(f"{name} read {count} of {dataset.manifest.planned_frames}")
            rates[name].append(count / seconds)
    mine, peer = (statistics.median(rates[name]) for name in ("simcloud", "webdataset"))
    print(
        f"in order: simcloud {mine:.0f}, webdataset {peer:.0f} samples/s; ratio {mine / peer:.2f}"
    )


async def one_layer(store: ObjectStore, location: RunLocation, reads: int) -> None:
    """Prints the median time of a random layer, and of a bare ranged GET of the same bytes."""
    dataset = await Dataset.open(store, location)
    keys = await dataset.keys()  # indexes are read once, before
    refs = [ref async for ref in dataset.refs(LAYERS[0])]
    rng = random.Random(1)  # noqa: S311 - which layers, no secret
    mine, bare = [], []
    cameras = dataset.manifest.cameras
    for _ in range(reads):
        position = rng.randrange(len(keys))
        ref = refs[position]
        begin = time.perf_counter()
        data = await dataset.layer(
            position // len(cameras), cameras[position % len(cameras)], LAYERS[0]
        )
        mine.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        answer = await store.client.get_object(
            Bucket=ref.bucket,
            Key=ref.key,
            Range=f"bytes={ref.offset}-{ref.offset + ref.length - 1}",
        )
        async with answer["Body"] as body:
            if await body.read() != data:
                raise RuntimeError(f"layer {position} is not what a GET says")
        bare.append(time.perf_counter() - begin)
    ours_ms, bare_ms = statistics.median(mine) * 1e3, statistics.median(bare) * 1e3
    print(
        f"one random layer: simcloud {ours_ms:.2f}, bare ranged GET {bare_ms:.2f} ms (p50); "
        f"ratio {ours_ms / bare_ms:.2f}"
    )


async def bench(asked: argparse.Namespace, settings: S3Settings) -> None:
    """Puts a run, then reads it in every way."""
    plan = Plan(frames=asked.frames, frames_per_shard=64)
    async with open_store(settings) as store:
        await store.ensure_bucket(_BUCKET)
        location = await put_run(store, plan, asked.layer_bytes)
        await sequential(store, location, asked.rounds)
        await one_layer(store, location, asked.reads)


def main() -> None:
    """Prints both ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=256, help="each by two cameras")
    parser.add_argument("--layer-bytes", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reads", type=int, default=400)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_s3_server(Path(folder)) as server:
        asyncio.run(bench(asked, server.settings))


if __name__ == "__main__":
    main()
