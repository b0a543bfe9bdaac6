"""Mutations of known inputs: the same ones every time, or for as long as one asks.

``SIMCLOUD_FUZZ_SECONDS=600 pytest tests/fuzz`` runs every target that long from a seed of the
moment, which is printed; a find becomes a file of tests/fuzz/corpus.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus"
_ROUNDS = 150
"""Inputs of each target in an ordinary run."""

_NUMBERS = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63 - 1,
    2**64 - 1,
)
_TOKENS = (
    *(b"", b"\x00" * 64, b"\xff" * 16, b"NaN", b"1e999", b"-1", b"[" * 40, b"{", b'"\\ud800"'),
    *(b"null", b"true", b'{"b64":"!"}', b"9" * 40, b"\xed\xa0\x80", b"\r\n", b",,", b":"),
)


class FuzzSeed(UserWarning):
    """Tells the seed of a run that is not the usual one."""


def corpus(name: str) -> list[bytes]:
    """Inputs that were kept, of one target: files of hexadecimal digits."""
    return [bytes.fromhex(path.read_text()) for path in sorted(CORPUS.glob(f"{name}-*.hex"))]


def mutations(seeds: Sequence[bytes], *, name: str) -> Iterator[bytes]:
    """The seeds, then mutations of them.

    Args:
        seeds: inputs that are understood.
        name: of the target; also what the mutations are drawn by.
    """
    known = [*seeds, *corpus(name)]
    yield from known
    seconds = float(os.environ.get("SIMCLOUD_FUZZ_SECONDS", "0"))
    seed = f"{name}-{time.time_ns()}" if seconds else name
    if seconds:
        # A warning, which pytest lists at the end; raised, it would end the run.
        warnings.simplefilter("default", FuzzSeed)
        warnings.warn(f"fuzzing {name} with the seed {seed}", FuzzSeed, stacklevel=2)
    random = Random(seed)
    until = time.monotonic() + seconds
    done = 0
    while done < _ROUNDS if not seconds else time.monotonic() < until:
        data = random.choice(known)
        for _ in range(random.randint(1, 4)):
            data = random.choice(_MUTATIONS)(data, random)
        yield data[: 1 << 20]
        done += 1


def _flip(data: bytes, random: Random) -> bytes:
    if not data:
        return b"\x00"
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :]


def _cut(data: bytes, random: Random) -> bytes:
    return data[: random.randint(0, len(data))]


def _drop(data: bytes, random: Random) -> bytes:
    start = random.randint(0, len(data))
    return data[:start] + data[start + random.randint(0, 16) :]


def _double(data: bytes, random: Random) -> bytes:
    start = random.randint(0, len(data))
    end = min(len(data), start + random.randint(1, 64))
    return data[:end] + data[start:end] * random.randint(1, 8) + data[end:]


def _token(data: bytes, random: Random) -> bytes:
    at = random.randint(0, len(data))
    return data[:at] + random.choice(_TOKENS) + data[at + random.randint(0, 4) :]


def _number(data: bytes, random: Random) -> bytes:
    width = random.choice((1, 2, 4, 8))
    value = random.choice(_NUMBERS) & ((1 << (8 * width)) - 1)
    at = random.randint(0, len(data))
    order = random.choice(("big", "little"))
    raw = value.to_bytes(width, "big" if order == "big" else "little")
    return data[:at] + raw + data[at + width :]


def _varint(data: bytes, random: Random) -> bytes:
    value, out = random.choice(_NUMBERS), bytearray()
    while value > 0x7F:
        out.append(0x80 | value & 0x7F)
        value >>= 7
    out.append(value)
    at = random.randint(0, len(data))
    return data[:at] + bytes(out) + data[at + 1 :]


_MUTATIONS: tuple[Callable[[bytes, Random], bytes], ...] = (
    _flip, _cut, _drop, _double, _token, _number, _varint,
)  # fmt: skip
