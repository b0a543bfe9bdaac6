"""CRC-64/NVME and its forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simcloud.errors import Corruption
from simcloud.s3 import checksums


def test_the_check_value_of_the_catalogue_holds() -> None:
    # "CRC-64/NVME" of the CRC RevEng catalogue: check=0xae8b14860a799888
    assert checksums.crc64nvme(b"123456789") == 0xAE8B14860A799888


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_combining_is_the_crc_of_the_concatenation(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    combined = running = 0
    for piece in pieces:
        combined = checksums.combine(combined, checksums.crc64nvme(piece), len(piece))
        running = checksums.crc64nvme(piece, running)
    assert combined == running == checksums.crc64nvme(whole)


@given(st.integers(0, 2**64 - 1))
def test_both_written_forms_are_read_back(crc: int) -> None:
    assert checksums.from_hex(checksums.to_hex(crc)) == crc
    assert checksums.from_base64(checksums.to_base64(crc)) == crc
    assert len(checksums.to_hex(crc)) == 16


@pytest.mark.parametrize("text", ["", "12", "g" * 16, "0" * 17])
def test_what_is_no_hex_crc_is_refused(text: str) -> None:
    with pytest.raises(Corruption):
        checksums.from_hex(text)


@pytest.mark.parametrize("text", ["", "AAAA", "!!!!", "AAAAAAAAAAAAAAAAAAAA"])
def test_what_is_no_base64_crc_is_refused(text: str) -> None:
    with pytest.raises(Corruption):
        checksums.from_base64(text)
