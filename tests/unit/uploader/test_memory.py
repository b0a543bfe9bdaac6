"""Freed memory stays with the process: how often the kernel must give a page anew."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# A part's messages, again and again, in a process of its own: the setting is for a whole process.
PROGRAM = """
import resource, sys
from simcloud_uploader.memory import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def part():
    return [bytes(300_000) for _ in range(55)]

if sys.argv[1] == "kept":
    assert keep_freed_memory(512 << 20)
first, second = part(), part()
del first, second
before = faults()
for _ in range(20):
    held = part()
    del held
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_a_part_is_received_into_the_memory_of_the_one_before() -> None:
    def faults(mode: str) -> int:
        command = [sys.executable, "-c", PROGRAM, mode]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    # 20 parts of 16.5 MB have 80,000 pages of 4 KiB.
    assert faults("given back") > 10_000
    assert faults("kept") < 5_000
