"""Memory of parts, kept for the next one rather than given back and asked for again."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Final

# malloc.h of glibc.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
# The most that every glibc takes (half a heap of an arena); a message has 1 MiB at most.
_LARGEST_BLOCK: Final = 32 << 20
_LARGEST_INT: Final = (1 << 31) - 1


def keep_freed_memory(most_bytes: int) -> bool:
    """Has the allocator keep what parts leave, up to ``most_bytes``; whether it does now.

    glibc maps a message of some 100 KB on its own and unmaps it with its part, so that the kernel
    clears each page of the next part anew and each is a page fault: a fifth of what receiving
    costs. What is kept is bounded by the memory that parts have had at once, so by the budget. For
    the whole process; other C libraries are left as they are.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        # Both, or glibc goes on moving the second by itself.
        return bool(
            mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)
            and mallopt(_M_TRIM_THRESHOLD, min(most_bytes, _LARGEST_INT))
        )
    return False
