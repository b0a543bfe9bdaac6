"""Where a key falls: the same everywhere and always; pure."""

from __future__ import annotations

from hashlib import blake2b

_STEPS = 2**53
"""Numbers that a float tells apart in [0, 1)."""


def place_of(key: str, salt: str) -> float:
    """A number in (0, 1) that ``key`` always has for ``salt``, evenly spread over keys.

    Args:
        key: what is placed.
        salt: for what; other salts give independent numbers.
    """
    digest = blake2b(key.encode(), person=_person(salt), digest_size=8).digest()
    return ((int.from_bytes(digest, "big") >> 11) + 0.5) / _STEPS


def _person(salt: str) -> bytes:
    # BLAKE2 takes 16 bytes of personalisation; names are longer.
    return blake2b(salt.encode(), digest_size=16).digest()
