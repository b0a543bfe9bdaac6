"""CRC-64/NVME: of bytes, of concatenations without rereading, and in the forms S3 and we write it.

The arithmetic is awscrt's (43 GB/s a core); S3 knows the same checksum as ``CRC64NVME``, always
over the full object.
"""

from __future__ import annotations

import base64
import binascii

from awscrt import checksums as _crt

from simcloud.errors import Corruption

HEX_DIGITS = 16

Buffer = bytes | memoryview
"""Bytes that nobody changes while they are on their way."""


def crc64nvme(data: bytes | bytearray | memoryview, previous: int = 0) -> int:
    """CRC-64/NVME of ``data``, or of what ``previous`` is the CRC of followed by ``data``."""
    result: int = _crt.crc64nvme(data, previous)
    return result


def combine(first: int, second: int, second_length: int) -> int:
    """CRC of the concatenation of two byte strings.

    Args:
        first: CRC of the first.
        second: CRC of the second.
        second_length: length of the second in bytes.
    """
    if second_length == 0:
        return first
    result: int = _crt.combine_crc64nvme(first, second, second_length)
    return result


def to_hex(crc: int) -> str:
    """16 lower-case hex digits, as in frame records, indexes and manifests."""
    return f"{crc:016x}"


def from_hex(text: str) -> int:
    """The CRC that ``to_hex`` wrote.

    Raises:
        Corruption: not 16 hex digits.
    """
    try:
        if len(text) != HEX_DIGITS:
            raise ValueError("wrong length")
        return int(text, 16)
    except ValueError as error:
        raise Corruption(f"{text!r} is not a CRC-64/NVME of {HEX_DIGITS} hex digits") from error


def to_base64(crc: int) -> str:
    """Big-endian base64, as in S3's ``x-amz-checksum-crc64nvme``."""
    return base64.b64encode(crc.to_bytes(8, "big")).decode("ascii")


def from_base64(text: str) -> int:
    """The CRC that S3 answered.

    Raises:
        Corruption: not base64 of 8 bytes.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise Corruption(f"S3's checksum {text!r} is not base64") from error
    if len(raw) != 8:
        raise Corruption(f"S3's checksum {text!r} is not of 8 bytes")
    return int.from_bytes(raw, "big")
