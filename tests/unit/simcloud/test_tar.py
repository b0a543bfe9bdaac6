"""The shard's tar: deterministic, readable by others, its checksums never from rereading."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from webdataset.tariterators import group_by_keys, tar_file_expander

from simcloud.annotators import ANNOTATORS
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.record import Quarantine
from simcloud.dataset.tar import (
    END_OF_ARCHIVE,
    END_OF_ARCHIVE_CRC,
    member_header,
    pack_frame,
    packed_size,
)
from simcloud.dataset.tarwalk import WINDOW_BYTES, fetch_frames, read_frames
from simcloud.errors import Corruption, InvalidRequest
from simcloud.s3 import checksums
from support.dataset_frames import SPEC_DIGEST, make_frame, make_layer, pack

LAYER_NAMES = [name for name, row in ANNOTATORS.items() if row.is_layer]
QUARANTINE = Quarantine(rule="tight_box", detail="chair_00: expected (1, 2, 5, 6), found (1, 2)")


@st.composite
def frame_lists(draw: st.DrawFn) -> list[EncodedFrame]:
    frames = []
    for index in range(draw(st.integers(0, 4))):
        for camera in ("a", "left-eye_2"):
            names = draw(st.permutations(LAYER_NAMES))[: draw(st.integers(0, 4))]
            layers = [
                make_layer(name, draw(st.binary(min_size=1, max_size=1600))) for name in names
            ]
            quarantine = None if layers else QUARANTINE
            frames.append(make_frame(index, camera, layers=layers, quarantine=quarantine))
    return frames


@given(frame_lists())
@settings(max_examples=20, deadline=None)
def test_python_reads_what_is_packed_and_the_combined_crc_is_that_of_the_bytes(
    frames: list[EncodedFrame],
) -> None:
    data, stored, crc = pack(frames)
    assert crc == checksums.crc64nvme(data)
    expected: list[tuple[str, bytes]] = []
    for frame, place in zip(frames, stored, strict=True):
        by_annotator = {layer.annotator: layer for layer in frame.layers}
        for layer in place.layers:
            expected.append((layer.member, by_annotator[layer.annotator].data))
            assert data[layer.offset : layer.offset + layer.length] == expected[-1][1]
        expected.append((f"{frame.frame:09d}.{frame.camera}.json", frame.record))
        begin = place.record_offset
        assert data[begin : begin + len(frame.record)] == frame.record
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        found = []
        for member in archive:
            assert (member.mode, member.uid, member.gid, member.mtime) == (0o644, 0, 0, 0)
            assert (member.uname, member.gname, member.isfile()) == ("", "", True)
            content = archive.extractfile(member)
            assert content is not None
            found.append((member.name, content.read()))
    assert found == expected


@given(frame_lists())
@settings(max_examples=20, deadline=None)
def test_reading_back_finds_exactly_what_was_stored(frames: list[EncodedFrame]) -> None:
    data, stored, _ = pack(frames)
    assert list(read_frames(data)) == stored


@given(frame_lists(), st.data())
@settings(max_examples=20, deadline=None)
def test_a_changed_header_or_json_byte_never_reads_as_the_same_frames(
    frames: list[EncodedFrame], draw: st.DataObject
) -> None:
    data, stored, _ = pack(frames)
    positions = [
        position
        for frame in stored
        for begin, length in (
            *((layer.offset - 512, 512) for layer in frame.layers),
            (frame.record_offset - 512, 512 + len(frame.record)),
        )
        for position in range(begin, begin + length)
    ] or [len(data) - 1]
    position = draw.draw(st.sampled_from(positions))
    damaged = bytearray(data)
    damaged[position] ^= draw.draw(st.integers(1, 255))
    try:
        found = list(read_frames(bytes(damaged)))
    except Corruption:
        return
    assert found != stored


def test_headers_are_those_that_python_writes() -> None:
    member = tarfile.TarInfo("000000007.front.rgb.png")
    member.size = 123_456
    member.mode = 0o644
    expected = bytearray(member.tobuf(format=tarfile.USTAR_FORMAT))
    assert member_header(member.name, member.size) == expected[:512]


def test_the_layout_never_changes() -> None:
    data, _, crc = pack([make_frame(0, "left"), make_frame(0, "right", quarantine=QUARANTINE)])
    assert checksums.crc64nvme(data) == crc
    # The spec's digest stands in every record and follows the spec's defaults; the layout does not.
    data = data.replace(SPEC_DIGEST.encode(), b"0" * 64)
    assert hashlib.sha256(data).hexdigest() == (
        "9c5b8928265a703c3c913d2a0dcfb7c577de887213ed3b6b7008e2369567ff74"
    ), "stored shards are read by this layout: a change needs a new record version"


def test_layers_stand_in_the_order_of_the_annotator_table_whatever_order_they_come_in() -> None:
    frame = make_frame(3, "left")
    backwards = EncodedFrame(
        frame=3, camera="left", record=frame.record, layers=tuple(reversed(frame.layers))
    )
    assert pack([frame]) == pack([backwards])
    names = [layer.annotator for layer in pack([frame])[1][0].layers]
    assert names == sorted(names, key=list(ANNOTATORS).index)


def test_webdataset_sees_one_sample_a_frame_with_the_camera_in_its_names() -> None:
    frames = [make_frame(5, "left"), make_frame(5, "right"), make_frame(6, "left")]
    # WebDataset's own stages, on a stream of ours: its opener leaves files to the collector
    source = [{"url": "000000.tar", "stream": io.BytesIO(pack(frames)[0])}]
    samples = list(group_by_keys(tar_file_expander(source)))
    # WebDataset splits a name at its first dot: the camera is the first part of the extension
    keys = [sample["__key__"] for sample in samples]
    assert keys == ["000000005", "000000006"]
    assert samples[0]["left.rgb.png"] == frames[0].layers[0].data
    assert json.loads(samples[0]["right.json"])["camera"] == "right"


def test_the_end_of_archive_is_two_zero_blocks() -> None:
    assert bytes(1024) == END_OF_ARCHIVE
    assert checksums.crc64nvme(END_OF_ARCHIVE) == END_OF_ARCHIVE_CRC


def test_the_size_of_a_frame_is_known_from_its_members_sizes() -> None:
    frame = make_frame(1, "left")
    packed = pack_frame(frame, offset=512)
    size = packed_size(len(frame.record), [len(layer.data) for layer in frame.layers])
    assert packed.size_bytes == size == sum(len(chunk) for chunk in packed.chunks)
    assert packed.stored.layers[0].offset == 1024


def test_layers_bytes_are_not_copied() -> None:
    frame = make_frame(1, "left")
    chunks = pack_frame(frame, offset=0).chunks
    assert all(any(layer.data is chunk for chunk in chunks) for layer in frame.layers)


def test_a_frame_with_two_layers_of_an_annotator_is_refused() -> None:
    layers = [make_layer("rgb", b"1"), make_layer("rgb", b"2")]
    with pytest.raises(InvalidRequest, match="two layers of rgb"):
        pack_frame(make_frame(0, "left", layers=layers), offset=0)


def test_an_empty_layer_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="0 bytes"):
        pack_frame(make_frame(0, "left", layers=[make_layer("rgb", b"")]), offset=0)


def test_an_unknown_annotator_is_refused() -> None:
    frame = make_frame(0, "left")
    odd = make_layer("rgb", b"1")
    layers = (type(odd)("heat", odd.extension, odd.media_type, odd.data, odd.crc64nvme),)
    with pytest.raises(InvalidRequest, match="unknown annotator 'heat'"):
        pack_frame(EncodedFrame(0, "left", frame.record, layers), offset=0)


def test_a_member_name_beyond_ustar_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="1 to 100 ASCII"):
        member_header("x" * 101, 1)


@pytest.mark.parametrize("cut", [1, 511, 512, 1024, 1025])
def test_a_tar_without_its_end_is_refused(cut: int) -> None:
    data = pack([make_frame(0, "left")])[0]
    with pytest.raises(Corruption):
        list(read_frames(data[:-cut]))


def test_a_layer_missing_before_its_record_is_refused() -> None:
    frame = make_frame(0, "left")
    short = EncodedFrame(0, "left", frame.record, frame.layers[:-1])
    with pytest.raises(Corruption, match=r"000000000\.left\.json names"):
        list(read_frames(pack([short])[0]))


def test_frames_out_of_order_are_refused() -> None:
    with pytest.raises(Corruption, match="comes after frame 4"):
        list(read_frames(pack([make_frame(4, "left"), make_frame(3, "left")])[0]))


def test_a_layer_of_another_frame_before_a_record_is_refused() -> None:
    chunks = pack_frame(make_frame(0, "left"), offset=0).chunks
    foreign = b"".join(chunks[:-1]) if len(chunks[-1]) < 512 else b"".join(chunks)
    # the layers of frame 0 without their json, then frame 1
    layers_only = pack_frame(make_frame(0, "left"), offset=0).stored.record_offset - 512
    data = foreign[:layers_only] + pack([make_frame(1, "left")])[0]
    with pytest.raises(Corruption, match="not by json"):
        list(read_frames(data))


async def test_reading_by_ranges_skips_the_layers() -> None:
    big = [make_layer(name, bytes(10 * WINDOW_BYTES)) for name in ("rgb", "distance_to_camera")]
    frames = [make_frame(index, "left", layers=big) for index in range(3)]
    data, stored, _ = pack(frames)
    fetched = 0

    async def read(start: int, length: int) -> bytes:
        nonlocal fetched
        fetched += length
        return data[start : start + length]

    assert [frame async for frame in fetch_frames(read, len(data))] == stored
    assert fetched < 0.3 * len(data)


async def test_the_durable_beginning_of_a_tar_is_read_without_its_end() -> None:
    frames = [make_frame(0, "left"), make_frame(0, "right"), make_frame(1, "left")]
    data, stored, _ = pack(frames)
    begun = sum(pack_frame(frame, offset=0).size_bytes for frame in frames[:2])

    async def read(start: int, length: int) -> bytes:
        return data[start : start + length]

    found = [frame async for frame in fetch_frames(read, begun, complete=False)]
    assert found == stored[:2]


async def test_a_server_that_sends_too_few_bytes_is_noticed() -> None:
    data = pack([make_frame(0, "left")])[0]

    async def read(start: int, length: int) -> bytes:
        return data[start : start + length - 1]

    with pytest.raises(Corruption, match="bytes came of"):
        [frame async for frame in fetch_frames(read, len(data))]
