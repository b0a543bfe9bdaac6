"""Frames for tests of the dataset: small, of known content, and shards put into S3 of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from simcloud.annotators import ANNOTATORS, ENCODINGS, Encoding
from simcloud.dataset.frames import EncodedFrame, Layer
from simcloud.dataset.index import TarObject
from simcloud.dataset.index_build import build_index
from simcloud.dataset.layout import RunLocation, shard_path
from simcloud.dataset.record import (
    CameraRecord,
    FrameRecord,
    LayerRecord,
    ObjectRecord,
    Quarantine,
)
from simcloud.dataset.tar import (
    END_OF_ARCHIVE,
    StoredFrame,
    layer_member,
    pack_frame,
)
from simcloud.s3 import checksums
from simcloud.s3.multipart import Part
from simcloud.s3.objects import ObjectStore
from simcloud.spec.canonical import canonical_json, digest
from simcloud.spec.model import Spec
from simcloud.spec.plan import Plan, ShardFrames

SPEC = Spec.model_validate(
    {
        "scene": {"root": "stage.usda"},
        "cameras": [
            {
                "name": name,
                "width_px": 8,
                "height_px": 6,
                "placement": {
                    "kind": "look_at",
                    "eye": [0.0, -3.0, 1.5],
                    "target": [0.0, 0.0, 0.5],
                },
            }
            for name in ("left", "right")
        ],
        "annotators": ["rgb", "distance_to_camera", "instance_segmentation"],
    }
)
SPEC_DIGEST = digest(canonical_json(SPEC))
LAYERS = ("rgb", "distance_to_camera", "instance_segmentation")
FINGERPRINT = "f" * 16


def make_layer(annotator: str, data: bytes, *, encoding: Encoding | None = None) -> Layer:
    """A layer of any bytes.

    Args:
        annotator: whose.
        data: the bytes.
        encoding: which they are said to be in; the annotator's default by default.
    """
    info = ENCODINGS[encoding or ANNOTATORS[annotator].encodings[0]]
    return Layer(
        annotator=annotator,
        extension=info.extension,
        media_type=info.media_type,
        data=data,
        crc64nvme=checksums.crc64nvme(data),
    )


def layer_records(frame: int, camera: str, layers: Sequence[Layer]) -> tuple[LayerRecord, ...]:
    """What a frame's json member says of its layers."""
    return tuple(
        LayerRecord(
            annotator=layer.annotator,
            member=layer_member(frame, camera, layer.annotator, layer.extension),
            media_type=layer.media_type,
            size_bytes=len(layer.data),
            crc64nvme=checksums.to_hex(layer.crc64nvme),
        )
        for layer in layers
    )


def make_frame(
    frame: int,
    camera: str,
    *,
    layers: Sequence[Layer] | None = None,
    quarantine: Quarantine | None = None,
    fingerprint: str = FINGERPRINT,
    plan: Plan | None = None,
) -> EncodedFrame:
    """A frame whose bytes are a function of its key."""
    rng = random.Random(f"{frame}.{camera}")
    if quarantine is not None:
        layers = ()
    elif layers is None:
        layers = [make_layer(name, rng.randbytes(rng.randint(1, 3000))) for name in LAYERS]
    record = FrameRecord(
        frame=frame,
        camera=camera,
        split=(plan or Plan(frames=1)).split_of(frame),
        spec_digest=SPEC_DIGEST,
        fingerprint=fingerprint,
        # 2.0 is written as 2 in every second frame: the column must stay a double
        params={
            "camera.fov_deg": 60.0 + frame % 2 / 2,
            "chair.count": frame % 3,
            "night": False,
            "rug.material": "/World/Looks/oak",
        },
        view=CameraRecord(
            width=8,
            height=6,
            fx_px=7.0,
            fy_px=7.0,
            cx_px=4.0,
            cy_px=3.0,
            cam2world=tuple(float(i % 5 == 0) for i in range(16)),
            focal_length_mm=18.1,
            horizontal_aperture_mm=20.955,
            near_m=0.01,
            far_m=1000.0,
        ),
        objects=() if quarantine else (make_object(),),
        id_to_label={"0": "BACKGROUND", "1": "UNLABELLED", "2": "chair"},
        layers=layer_records(frame, camera, layers),
        quarantine=quarantine,
    )
    return EncodedFrame(frame=frame, camera=camera, record=record.to_json(), layers=tuple(layers))


def make_object() -> ObjectRecord:
    """A chair that stands in full view."""
    return ObjectRecord(
        instance_id=2,
        name="chair_00",
        asset="chair_1",
        label="chair",
        semantic_id=2,
        local2world=tuple(float(i % 5 == 0) for i in range(16)),
        box3d_min_m=(-0.5, -0.5, 0.0),
        box3d_max_m=(0.5, 0.5, 1.0),
        box2d_tight=(1, 2, 5, 6),
        box2d_loose=None,
        visible_px=12,
        amodal_px=16,
        occlusion=0.25,
        truncation=0.0,
        distance_m=3.25,
    )


def pack(frames: Sequence[EncodedFrame]) -> tuple[bytes, list[StoredFrame], int]:
    """A whole tar, its frames as they stand in it, and its CRC combined from the frames'."""
    chunks: list[checksums.Buffer] = []
    stored: list[StoredFrame] = []
    offset = crc = 0
    for frame in frames:
        packed = pack_frame(frame, offset=offset)
        chunks.extend(packed.chunks)
        stored.append(packed.stored)
        crc = checksums.combine(crc, packed.crc64nvme, packed.size_bytes)
        offset += packed.size_bytes
    crc = checksums.crc64nvme(END_OF_ARCHIVE, crc)
    return b"".join((*chunks, END_OF_ARCHIVE)), stored, crc


FrameMaker = Callable[[int, str], EncodedFrame]


def shard_frames(shard: ShardFrames, make: FrameMaker = make_frame) -> list[EncodedFrame]:
    """Every frame and camera of a shard."""
    return [
        make(frame, camera.name)
        for frame in range(shard.first, shard.end)
        for camera in SPEC.cameras
    ]


async def put_tar(store: ObjectStore, location: RunLocation, shard: int, tar: bytes) -> TarObject:
    """Puts a shard's tar into S3 as the uploader does, by a multipart upload of one part."""
    key = location.shard_key(shard)
    crc = checksums.crc64nvme(tar)
    upload = await store.create_multipart(
        location.bucket, key, metadata={}, content_type="application/x-tar"
    )
    etag = await store.upload_part(
        location.bucket, key, upload_id=upload, number=1, data=tar, crc64nvme=crc
    )
    parts = [Part(number=1, size_bytes=len(tar), etag=etag, crc64nvme=crc)]
    done = await store.complete_multipart(
        location.bucket, key, upload_id=upload, parts=parts, size_bytes=len(tar), crc64nvme=crc
    )
    return TarObject(path=shard_path(shard), size_bytes=len(tar), crc64nvme=crc, etag=done)


async def put_shard(
    store: ObjectStore,
    location: RunLocation,
    shard: ShardFrames,
    *,
    make: FrameMaker = make_frame,
    with_index: bool = True,
) -> bytes:
    """Commits a shard: its tar, then its index, whose bytes are returned."""
    tar, stored, _ = pack(shard_frames(shard, make))
    index = build_index(
        location.run, shard, await put_tar(store, location, shard.shard, tar), stored
    )
    if with_index:
        await store.put_if_absent(location.bucket, location.index_key(shard.shard), index)
    return index
