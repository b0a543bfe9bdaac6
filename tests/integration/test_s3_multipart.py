"""Multipart uploads on a real server: what becomes an object, and what is refused."""

from __future__ import annotations

import random

import pytest

from simcloud.s3 import checksums
from simcloud.s3.errors import (
    BadDigest,
    ConditionalConflict,
    InvalidPart,
    NoAnswer,
    NoSuchUpload,
    ObjectExists,
    ServerFailed,
)
from simcloud.s3.faults import Fault, FaultKind, plan_of, wrapping
from simcloud.s3.multipart import Part
from simcloud.s3.objects import ObjectStore, open_store
from support.s3_server import S3Server

MIB = 1 << 20


async def upload(
    store: ObjectStore, bucket: str, key: str, sizes: tuple[int, ...]
) -> tuple[str, list[Part], bytes]:
    data = b"".join(random.Random(index).randbytes(size) for index, size in enumerate(sizes))
    upload_id = await store.create_multipart(
        bucket, key, metadata={"simcloud-writer": "run/0/1"}, content_type="application/x-tar"
    )
    parts = []
    begin = 0
    for number, size in enumerate(sizes, start=1):
        piece = data[begin : begin + size]
        crc = checksums.crc64nvme(piece)
        etag = await store.upload_part(
            bucket, key, upload_id=upload_id, number=number, data=piece, crc64nvme=crc
        )
        parts.append(Part(number=number, size_bytes=size, etag=etag, crc64nvme=crc))
        begin += size
    return upload_id, parts, data


async def test_a_multipart_upload_becomes_one_object_with_a_full_object_crc(
    store: ObjectStore, bucket: str
) -> None:
    upload_id, parts, data = await upload(store, bucket, "m", (5 * MIB, 5 * MIB + 7, 3))
    listed = await store.list_parts(bucket, "m", upload_id=upload_id)
    assert [(part.number, part.size_bytes, part.etag) for part in listed] == [
        (part.number, part.size_bytes, part.etag) for part in parts
    ]
    assert [row.upload_id async for row in store.list_uploads(bucket, "m")] == [upload_id]
    crc = checksums.crc64nvme(data)
    etag = await store.complete_multipart(
        bucket, "m", upload_id=upload_id, parts=parts, size_bytes=len(data), crc64nvme=crc
    )
    info = await store.head(bucket, "m")
    assert (info.size_bytes, info.crc64nvme, info.etag) == (len(data), crc, etag)
    assert info.metadata == {"simcloud-writer": "run/0/1"}
    assert [row async for row in store.list_uploads(bucket, "")] == []


async def test_a_part_whose_bytes_are_not_its_crcs_is_refused(
    store: ObjectStore, bucket: str
) -> None:
    upload_id = await store.create_multipart(bucket, "m", metadata={}, content_type="a/b")
    with pytest.raises(BadDigest):
        await store.upload_part(
            bucket, "m", upload_id=upload_id, number=1, data=b"data", crc64nvme=1
        )


async def test_completing_with_a_wrong_crc_part_or_over_an_object_is_refused(
    store: ObjectStore, bucket: str
) -> None:
    upload_id, parts, data = await upload(store, bucket, "m", (5 * MIB, 3))
    crc = checksums.crc64nvme(data)

    async def complete(*, parts: list[Part], crc64nvme: int) -> str:
        return await store.complete_multipart(
            bucket,
            "m",
            upload_id=upload_id,
            parts=parts,
            size_bytes=len(data),
            crc64nvme=crc64nvme,
        )

    with pytest.raises(BadDigest):
        await complete(parts=parts, crc64nvme=crc ^ 1)
    odd = Part(number=2, size_bytes=3, etag=parts[0].etag, crc64nvme=None)
    with pytest.raises(InvalidPart):
        await complete(parts=[parts[0], odd], crc64nvme=crc)
    await complete(parts=parts, crc64nvme=crc)
    with pytest.raises(ObjectExists):
        await complete(parts=parts, crc64nvme=crc)


async def test_complete_is_tried_once_whatever_the_answer(s3_server: S3Server, bucket: str) -> None:
    plan = plan_of(
        Fault("complete_multipart_upload", FaultKind.REFUSED, code="InternalError", status=500),
        Fault(
            "complete_multipart_upload",
            FaultKind.REFUSED,
            code="ConditionalRequestConflict",
            status=409,
        ),
        Fault("complete_multipart_upload", FaultKind.LOST_ANSWER),
    )
    async with open_store(s3_server.settings, wrap=wrapping(plan)) as store:
        upload_id, parts, data = await upload(store, bucket, "m", (10,))
        for number, expected in enumerate((ServerFailed, ConditionalConflict, NoAnswer), start=1):
            with pytest.raises(expected):
                await store.complete_multipart(
                    bucket,
                    "m",
                    upload_id=upload_id,
                    parts=parts,
                    size_bytes=len(data),
                    crc64nvme=checksums.crc64nvme(data),
                )
            assert plan.count("complete_multipart_upload") == number
        assert (await store.head(bucket, "m")).size_bytes == 10


async def test_aborting_twice_is_no_error_and_the_upload_is_gone(
    store: ObjectStore, bucket: str
) -> None:
    upload_id, _, _ = await upload(store, bucket, "m", (10,))
    await store.abort_multipart(bucket, "m", upload_id=upload_id)
    await store.abort_multipart(bucket, "m", upload_id=upload_id)
    await store.abort_multipart(bucket, "m", upload_id="00000000")
    with pytest.raises(NoSuchUpload):
        await store.list_parts(bucket, "m", upload_id=upload_id)


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    server = S3Server(tmp_path_factory.mktemp("killed"), write_through=True)
    await server.start_async()
    try:
        async with open_store(server.settings) as store:
            await store.ensure_bucket("kept")
            await store.put(bucket := "kept", "object", b"acknowledged")
            upload_id, parts, data = await upload(store, bucket, "m", (5 * MIB, 9))
        server.kill()
        await server.start_async()
        async with open_store(server.settings) as store:
            assert (await store.get(bucket, "object")).data == b"acknowledged"
            await store.complete_multipart(
                bucket,
                "m",
                upload_id=upload_id,
                parts=parts,
                size_bytes=len(data),
                crc64nvme=checksums.crc64nvme(data),
            )
            assert (await store.get(bucket, "m")).data == data
    finally:
        server.stop()
