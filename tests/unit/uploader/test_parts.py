"""Parts: where they end, how large they are, how many there can be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simcloud.errors import InvalidRequest
from simcloud.s3.checksums import crc64nvme
from simcloud_uploader.parts import Part, PartCutter, PartLimits, choose_part_size

S3 = PartLimits(min_part_bytes=5 << 20, max_part_bytes=5 << 30, max_parts=10_000)


@given(sizes=st.lists(st.integers(1, 300), min_size=1, max_size=40), part_size=st.integers(1, 1000))
def test_parts_end_at_frames_and_hold_every_byte_in_order(sizes: list[int], part_size: int) -> None:
    cutter = PartCutter(part_size_bytes=part_size, first_number=1)
    data = [bytes([index % 256]) * size for index, size in enumerate(sizes)]
    parts: list[Part] = []
    for index, chunk in enumerate(data):
        cutter.add([chunk[:1], chunk[1:]], crc64nvme=crc64nvme(chunk), payload_bytes=len(chunk))
        part = cutter.end_frame(index + 1)
        if part is not None:
            parts.append(part)
    parts.append(cutter.finish(b"end", end_frame=len(sizes)))
    assert b"".join(bytes(part.data) for part in parts) == b"".join(data) + b"end"
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    assert sum(part.payload_bytes for part in parts) == sum(sizes)
    for part in parts[:-1]:
        assert part_size <= len(part.data) < part_size + max(sizes)
        assert not part.final
    for part in parts:
        assert part.crc64nvme == crc64nvme(bytes(part.data))
    ends = [part.end_frame for part in parts]
    assert ends == sorted(ends)
    for part, end in zip(parts, ends, strict=True):
        before = sum(len(other.data) for other in parts if other.number <= part.number)
        assert before - 3 * part.final == sum(sizes[:end])


def test_a_flush_takes_whole_frames_and_only_as_many_bytes_as_s3_accepts() -> None:
    cutter = PartCutter(part_size_bytes=100, first_number=4)
    assert cutter.flush(1) is None
    cutter.add([b"x" * 40], crc64nvme=crc64nvme(b"x" * 40), payload_bytes=40)
    cutter.end_frame(7)
    cutter.add([b"y" * 40], crc64nvme=0, payload_bytes=40)
    assert cutter.flush(41) is None
    part = cutter.flush(40)
    assert part is not None
    assert (part.number, bytes(part.data), part.end_frame) == (4, b"x" * 40, 7)
    assert part.crc64nvme == crc64nvme(b"x" * 40)


def test_the_part_size_is_the_wanted_one_while_frames_are_fewer_than_parts() -> None:
    size = choose_part_size(
        wanted_bytes=16 << 20, frames=9_999, max_frame_bytes=50 << 20, members=4, limits=S3
    )
    assert size == 16 << 20


@given(frames=st.integers(1, 65_536), frame_bytes=st.integers(1, 10 << 20))
def test_a_shard_never_has_more_parts_than_s3_allows(frames: int, frame_bytes: int) -> None:
    size = choose_part_size(
        wanted_bytes=5 << 20, frames=frames, max_frame_bytes=frame_bytes, members=1, limits=S3
    )
    most = frames * (frame_bytes + 1024)
    assert min(frames, most // size) <= S3.max_parts


def test_frames_too_large_for_any_part_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="don't fit"):
        choose_part_size(
            wanted_bytes=16 << 20, frames=10, max_frame_bytes=5 << 30, members=1, limits=S3
        )
