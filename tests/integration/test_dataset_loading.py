"""A run as a training loop reads it: by number, in batches, shuffled, resumed, elsewhere."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from simcloud.annotators import ANNOTATORS
from simcloud.dataset.encode import encode
from simcloud.dataset.fetch import ReadAhead
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.loading import FrameDataset, FrameStream
from simcloud.dataset.publishing import build_manifest, publish_manifest
from simcloud.dataset.reader import Dataset
from simcloud.dataset.record import Quarantine
from simcloud.dataset.rundoc import load_run, write_plan, write_spec
from simcloud.dataset.selection import Filter
from simcloud.dataset.source import Sample, Source
from simcloud.errors import InvalidRequest, NotFound, PreconditionFailed
from simcloud.s3.objects import ObjectStore
from simcloud.spec.plan import Plan
from support.dataset_frames import LAYERS, SPEC, make_frame, make_layer, put_shard
from support.s3_server import S3Server

PLAN = Plan(frames=12, frames_per_shard=5)
BAD = (7, "left")
Key = tuple[int, str]


def picture(frame: int, camera: str, annotator: str) -> np.ndarray:
    rng = np.random.default_rng([frame, SPEC.cameras[0].name == camera, LAYERS.index(annotator)])
    shape = (6, 8, 3) if annotator == "rgb" else (6, 8)
    dtype = np.dtype(ANNOTATORS[annotator].dtype)
    if dtype.kind == "f":
        return rng.random(shape, dtype=np.float32)
    return rng.integers(0, 200, shape).astype(dtype)


def real_frame(frame: int, camera: str) -> EncodedFrame:
    if (frame, camera) == BAD:
        return make_frame(frame, camera, quarantine=Quarantine(rule="tight_box", detail="x"))
    layers = [
        make_layer(name, encode(picture(frame, camera, name), SPEC.encodings[name]))
        for name in LAYERS
    ]
    return make_frame(frame, camera, layers=layers)


STORED: list[Key] = [
    (frame, camera.name)
    for frame in range(PLAN.frames)
    for camera in SPEC.cameras
    if (frame, camera.name) != BAD
]


@pytest.fixture
async def run(store: ObjectStore, bucket: str) -> RunLocation:
    location = RunLocation(bucket=bucket, prefix="", run="train")
    await write_spec(store, location, SPEC, {})
    await write_plan(store, location, PLAN, 1)
    for shard in PLAN.shards():
        await put_shard(store, location, shard, make=real_frame)
    manifest = await build_manifest(store, await load_run(store, location), provenance={})
    await publish_manifest(store, location, manifest)
    return location


@pytest.fixture
def source(run: RunLocation, s3_server: S3Server) -> Source:
    return Source(location=run, s3=s3_server.settings)


@pytest.fixture
def frames(source: Source) -> Iterator[FrameDataset]:
    opened = FrameDataset(source)
    yield opened
    opened.close()


def key(sample: Sample) -> Key:
    return sample.frame, sample.camera


def keys_of(samples: Iterable[Sample]) -> list[Key]:
    return [key(sample) for sample in samples]


def check(sample: Sample) -> None:
    assert set(sample.arrays) == set(LAYERS)
    for name, array in sample.arrays.items():
        np.testing.assert_array_equal(array, picture(*key(sample), name))
    assert (sample.record.frame, sample.record.camera) == key(sample)


async def test_frames_by_number_and_in_batches_are_what_was_stored(frames: FrameDataset) -> None:
    def read() -> None:
        assert len(frames) == len(STORED)
        first, last = frames[0], frames[-1]
        assert (key(first), key(last)) == (STORED[0], STORED[-1])
        batch = frames.__getitems__([20, 3, 3, 11])
        assert [key(sample) for sample in batch] == [STORED[i] for i in (20, 3, 3, 11)]
        for sample in (first, last, *batch):
            check(sample)
        with pytest.raises(IndexError):
            frames[len(STORED)]

    await asyncio.to_thread(read)


async def test_neighbours_are_read_by_one_request_and_unwanted_layers_not_at_all(
    store: ObjectStore, run: RunLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = await Dataset.open(store, run)
    keys = await dataset.keys()
    ranges: list[tuple[int, int | None]] = []
    original = store.get

    async def counting(
        bucket: str, name: str, *, start: int = 0, length: int | None = None, if_match: str = ""
    ) -> object:
        ranges.append((start, length))
        return await original(bucket, name, start=start, length=length, if_match=if_match)

    monkeypatch.setattr(store, "get", counting)
    assert len(await dataset.at(keys)) == len(STORED)
    assert len(ranges) == len(PLAN.shards())
    ranges.clear()
    narrow = ReadAhead(gap_bytes=0)
    (only,) = await dataset.at(keys[:1], annotators=["distance_to_camera"], ahead=narrow)
    assert [layer.annotator for layer in only.layers] == ["distance_to_camera"]
    assert len(ranges) == 2  # the layer, and the record at the frame's end
    assert sum(length or 0 for _, length in ranges) == only.size_bytes


@pytest.mark.parametrize("shuffle", ["", "shards", "frames"])
async def test_an_epoch_has_every_frame_once_in_an_order_of_its_own(
    source: Source, shuffle: str
) -> None:
    small = replace(source, ahead=ReadAhead(block_bytes=4000))
    stream = FrameStream(small, shuffle=shuffle, seed=3)  # type: ignore[arg-type] # parametrized
    epochs = [await asyncio.to_thread(keys_of, stream) for _ in range(2)]
    stream.close()
    for epoch in epochs:
        assert sorted(epoch) == sorted(STORED)
    assert (epochs[0] == STORED) == (not shuffle)
    assert (epochs[0] == epochs[1]) == (not shuffle)


async def test_an_epoch_goes_on_in_a_new_reader_where_it_was_left(source: Source) -> None:
    small = replace(source, ahead=ReadAhead(block_bytes=4000))
    expected = FrameStream(small, shuffle="frames", seed=5)
    whole = await asyncio.to_thread(keys_of, expected)
    following = await asyncio.to_thread(keys_of, expected)
    expected.close()
    for taken in (0, 1, 9, len(STORED)):
        first = FrameStream(small, shuffle="frames", seed=5)

        def part(stream: FrameStream = first, count: int = taken) -> list[Key]:
            return [key(sample) for _, sample in zip(range(count), stream, strict=False)]

        before = await asyncio.to_thread(part)
        state = pickle.loads(pickle.dumps(first.state_dict()))
        first.close()
        second = FrameStream(small, shuffle="frames", seed=5)
        second.load_state_dict(state)
        after = await asyncio.to_thread(keys_of, second)
        if before == whole and state["taken"] == 0:
            assert after == following
        else:
            assert before + after == whole
        second.close()


async def test_the_state_of_another_order_is_refused(source: Source) -> None:
    stream = FrameStream(source, shuffle="frames", seed=1)
    state = await asyncio.to_thread(stream.state_dict)
    stream.close()
    other = FrameStream(replace(source, filter=Filter(split="val")), shuffle="frames", seed=1)
    with pytest.raises(PreconditionFailed, match="filter"):
        await asyncio.to_thread(other.load_state_dict, state)
    other.close()


async def test_parts_share_an_epoch_without_a_frame_twice(source: Source) -> None:
    small = replace(source, ahead=ReadAhead(block_bytes=4000))
    seen: list[Key] = []
    for part in range(3):
        stream = FrameStream(small, shuffle="frames", part=part, parts=3)
        found = await asyncio.to_thread(keys_of, stream)
        assert await asyncio.to_thread(len, stream) == len(found)
        seen += found
        stream.close()
    assert sorted(seen) == sorted(STORED)
    with pytest.raises(InvalidRequest, match="3 is not one of 3 parts"):
        FrameStream(source, part=3, parts=3)


async def test_the_workers_of_a_data_loader_share_their_part(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(source, ahead=ReadAhead(block_bytes=4000))
    seen: list[Key] = []
    for part in range(2):
        for worker in range(2):
            # torch's own module says so in a worker's process; torch is not installed here
            loaders = ModuleType("torch.utils.data")
            information = SimpleNamespace(id=worker, num_workers=2)
            monkeypatch.setattr(loaders, "get_worker_info", lambda x=information: x, raising=False)
            monkeypatch.setitem(sys.modules, "torch.utils.data", loaders)
            stream = FrameStream(small, part=part, parts=2)
            seen += await asyncio.to_thread(keys_of, stream)
            stream.close()
    assert sorted(seen) == sorted(STORED)


async def test_where_torch_is_loaded_a_stream_is_of_the_kind_that_its_loader_iterates(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DataLoader asks isinstance(dataset, IterableDataset) and indexes whatever is not one."""
    stream = FrameStream(source, shuffle="frames", seed=3, part=1, parts=2)
    assert stream.__class__ is FrameStream
    loaders = ModuleType("torch.utils.data")
    kind = type("IterableDataset", (), {})  # torch is not installed here
    monkeypatch.setattr(loaders, "IterableDataset", kind, raising=False)
    monkeypatch.setattr(loaders, "get_worker_info", lambda: None, raising=False)
    monkeypatch.setitem(sys.modules, "torch.utils.data", loaders)
    expected = await asyncio.to_thread(keys_of, stream)
    # as a worker gets it, forked or spawned; an epoch later than the first
    for same in (stream, copy.copy(stream), pickle.loads(pickle.dumps(stream))):
        assert isinstance(same, kind)
        assert isinstance(same, FrameStream)
        same.epoch = 0
        assert await asyncio.to_thread(keys_of, same) == expected
        assert same.epoch == 1
        same.close()
    assert not isinstance(FrameDataset(source), kind)


async def test_a_condition_on_sampled_parameters_selects_frames(source: Source) -> None:
    where = "\"params.chair.count\" = 2 AND camera = 'right'"
    chosen = FrameDataset(replace(source, filter=Filter(where=where), annotators=("rgb",)))
    found = await asyncio.to_thread(lambda: [chosen[i] for i in range(len(chosen))])
    chosen.close()
    assert [key(sample) for sample in found] == [
        (frame, camera) for frame, camera in STORED if frame % 3 == 2 and camera == "right"
    ]
    assert all(set(sample.arrays) == {"rgb"} for sample in found)
    with pytest.raises(InvalidRequest, match="annotators"):
        replace(source, annotators=("bounding_box_2d_tight",))


_ELSEWHERE = """
import os, pickle, sys
frames = pickle.load(sys.stdin.buffer)
def show():
    print([(s.frame, s.camera) for s in frames.__getitems__([4, 2])], flush=True)
    frames.close()
show()
frames[0]
child = os.fork()  # as a DataLoader's worker, from a process that has read
if child == 0:
    show()
    os._exit(0)
_, status = os.waitpid(child, 0)
frames.close()
sys.exit(os.waitstatus_to_exitcode(status))
"""


async def test_a_dataset_that_was_read_here_reads_in_new_and_in_forked_processes(
    frames: FrameDataset,
) -> None:
    def read() -> str:
        check(frames[0])
        child = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _ELSEWHERE],
            input=pickle.dumps(frames),
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert child.returncode == 0, child.stderr.decode()
        return child.stdout.decode()

    assert await asyncio.to_thread(read) == f"{[STORED[4], STORED[2]]}\n" * 2


async def test_an_iteration_that_is_left_leaves_nothing_behind(source: Source) -> None:
    stream = FrameStream(replace(source, ahead=ReadAhead(block_bytes=4000)))

    def left() -> Key:
        iterator = iter(stream)
        first = key(next(iterator))
        iterator.close()  # type: ignore[attr-defined] # a generator
        return first

    assert await asyncio.to_thread(left) == STORED[0]
    assert await asyncio.to_thread(lambda: stream.state_dict()["taken"]) == 1
    await asyncio.to_thread(stream.close)


async def test_a_run_that_can_not_be_opened_leaves_no_thread_behind(source: Source) -> None:
    absent = FrameDataset(replace(source, location=replace(source.location, run="absent")))
    with pytest.raises(NotFound, match="absent"):
        await asyncio.to_thread(len, absent)
    assert [thread for thread in threading.enumerate() if "dataset" in thread.name] == []


async def test_closing_ends_what_is_still_iterated_and_complains_of_nothing(
    source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    stream = FrameStream(replace(source, ahead=ReadAhead(block_bytes=4000)))

    def closed() -> tuple[Key, Key]:
        iterator = iter(stream)
        first = key(next(iterator))
        stream.close()
        again = key(next(iter(stream)))  # opened anew, where it stood
        stream.close()
        return first, again

    assert await asyncio.to_thread(closed) == (STORED[0], STORED[1])
    # of generators that could not be ended, the loop tells its log alone
    assert [record for record in caplog.records if record.name == "asyncio"] == []
