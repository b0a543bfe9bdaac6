"""A shard's index made: from frames still in memory, or from the tar in S3; the same bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import fields

import pyarrow as pa
import pyarrow.parquet as pq

from simcloud.dataset.index import ShardRecord, TarObject, record_metadata
from simcloud.dataset.index_schema import PARAM_PREFIX, index_schema, param_type
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.record import (
    CameraRecord,
    DistractorRecord,
    FrameRecord,
    ObjectRecord,
    record_from_json,
)
from simcloud.dataset.tar import StoredFrame, StoredLayer
from simcloud.dataset.tarwalk import fetch_frames
from simcloud.errors import Corruption
from simcloud.s3 import checksums
from simcloud.s3.objects import ObjectStore
from simcloud.spec.plan import ShardFrames

_VIEW_FIELDS = tuple(item.name for item in fields(CameraRecord))
_OBJECT_FIELDS = tuple(item.name for item in fields(ObjectRecord))
_DISTRACTOR_FIELDS = tuple(item.name for item in fields(DistractorRecord))
_LAYER_FIELDS = tuple(item.name for item in fields(StoredLayer))


def build_index(
    run: str, shard: ShardFrames, tar: TarObject, frames: Sequence[StoredFrame]
) -> bytes:
    """The Parquet file of a shard. About 1 ms of CPU a row: call it in a thread.

    Args:
        run: name of the run.
        shard: the shard and its frames.
        tar: the tar as S3 has it.
        frames: every frame and camera, in the tar's order.

    Raises:
        Corruption: the frames are not the shard's, one is missing or doubled, specs differ, or a
            parameter has values of different types.
    """
    records = [record_from_json(frame.record) for frame in frames]
    summary = _summary(run, shard, tar, records)
    params = {name: param_type(value) for name, value in records[0].params.items()}
    rows = [_row(run, frame, record, params) for frame, record in zip(frames, records, strict=True)]
    try:
        table = pa.Table.from_pylist(rows, schema=index_schema(params))
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise Corruption(
            f"shard {shard.shard}: a record does not fit the index: {error}"
        ) from error
    sink = pa.BufferOutputStream()
    # every option that changes bytes is named: the index must come out alike on any machine
    pq.write_table(
        table.replace_schema_metadata(record_metadata(summary)),
        sink,
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        compression_level=3,
        use_dictionary=True,
        write_statistics=True,
        row_group_size=len(rows),
        store_schema=True,
    )
    return sink.getvalue().to_pybytes()


async def rebuild_index(store: ObjectStore, location: RunLocation, shard: ShardFrames) -> bytes:
    """The index made from the tar in S3: headers and json members by ranged GETs, nothing else.

    Raises:
        NoSuchKey: there is no tar.
        Corruption: the tar is not this shard's.
    """
    key = location.shard_key(shard.shard)
    info = await store.with_crc(location.bucket, await store.head(location.bucket, key))
    tar = TarObject.of(shard.shard, info)
    frames = await fetch_shard_frames(store, location, tar)
    return await asyncio.to_thread(build_index, location.run, shard, tar, frames)


async def fetch_shard_frames(
    store: ObjectStore, location: RunLocation, tar: TarObject
) -> list[StoredFrame]:
    """Every frame of a shard in S3, without its layers.

    Raises:
        Corruption: the tar is not a shard.
    """
    key = location.key(tar.path)

    async def read(start: int, length: int) -> bytes:
        body = await store.get(location.bucket, key, start=start, length=length, if_match=tar.etag)
        return body.data

    return [frame async for frame in fetch_frames(read, tar.size_bytes)]


def _summary(
    run: str, shard: ShardFrames, tar: TarObject, records: Sequence[FrameRecord]
) -> ShardRecord:
    where = f"shard {shard.shard}"
    keys = [(record.frame, record.camera) for record in records]
    cameras = tuple(dict.fromkeys(camera for _, camera in keys))
    expected = [(frame, camera) for frame in range(shard.first, shard.end) for camera in cameras]
    if not keys or keys != expected:
        raise Corruption(f"{where}: {_difference(keys, expected)}")
    specs = {record.spec_digest for record in records}
    if len(specs) != 1:
        raise Corruption(f"{where}: its frames are of several specs: {sorted(specs)}")
    quarantined = sum(record.quarantine is not None for record in records)
    return ShardRecord(
        run=run,
        shard=shard,
        tar=tar,
        stored_frames=len(records) - quarantined,
        quarantined_frames=quarantined,
        fingerprints=tuple(dict.fromkeys(record.fingerprint for record in records)),
        spec_digest=specs.pop(),
        cameras=cameras,
    )


def _difference(found: Sequence[tuple[int, str]], expected: Sequence[tuple[int, str]]) -> str:
    if len(set(found)) != len(found):
        doubled = next(key for position, key in enumerate(found) if key in found[:position])
        return f"frame {doubled[0]} of camera {doubled[1]} stands in it twice"
    if missing := sorted(set(expected) - set(found)):
        return f"frame {missing[0][0]} of camera {missing[0][1]} is not in it"
    if foreign := sorted(set(found) - set(expected)):
        return f"frame {foreign[0][0]} does not belong in it"
    return "no frames" if not found else "its frames are out of order"


def _row(
    run: str, frame: StoredFrame, record: FrameRecord, params: dict[str, pa.DataType]
) -> dict[str, object]:
    if record.params.keys() != params.keys():
        odd = sorted(record.params.keys() ^ params.keys())[0]
        raise Corruption(f"frame {record.frame}: parameter {odd} is not in every frame")
    row: dict[str, object] = {
        "run": run,
        "frame": record.frame,
        "camera": record.camera,
        "split": record.split,
        "fingerprint": record.fingerprint,
        "spec_digest": record.spec_digest,
        "quarantine_rule": record.quarantine.rule if record.quarantine else None,
        "quarantine_detail": record.quarantine.detail if record.quarantine else None,
        **_flat(record.view, _VIEW_FIELDS),
        "objects": [_flat(item, _OBJECT_FIELDS) for item in record.objects],
        "distractors": [_flat(item, _DISTRACTOR_FIELDS) for item in record.distractors],
        "id_to_label": [
            {"id": int(number), "label": label}
            for number, label in sorted(record.id_to_label.items(), key=lambda item: int(item[0]))
        ],
        "layers": [
            {**_flat(layer, _LAYER_FIELDS), "crc64nvme": checksums.to_hex(layer.crc64nvme)}
            for layer in frame.layers
        ],
        "record_offset": frame.record_offset,
        "record_length": len(frame.record),
    }
    for name, value in record.params.items():
        if param_type(value) != params[name]:
            raise Corruption(f"frame {record.frame}: parameter {name} is no {params[name]}")
        row[PARAM_PREFIX + name] = float(value) if params[name] == pa.float64() else value
    return row


def _flat(item: object, names: Sequence[str]) -> dict[str, object]:
    """Fields by name; `asdict` would copy every tuple, at five times the cost."""
    return {name: getattr(item, name) for name in names}
