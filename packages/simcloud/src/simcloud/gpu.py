"""GPUs as nvidia-smi tells them, and what Isaac Sim needs of one.

For the generator's pre-flight, for `simcloud doctor`, and for the nodes of a cluster.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass

MIN_DRIVER = (570, 169)
"""``MIN_DRIVER_VERSION`` of Isaac's image; its variable in the environment goes before this."""

BLOCKED_DRIVERS = (((570, 0), (570, 169)), ((575, 0), (575, 64)))
"""Driver ranges [from, before) that Isaac Sim 6.2 refuses (``driver-requirements.json``)."""

RECOMMENDED_DRIVER = "580.95.05"
"""By the same file."""

MIN_MEMORY_MIB = 15_000
"""16 GB are asked for; a card of 16 GB reports some less."""

NO_RT_CORES = (
    "A30",
    "A100",
    "A800",
    "H100",
    "H200",
    "H20",
    "H800",
    "GH200",
    "B100",
    "B200",
    "B300",
)
"""Data-centre GPUs without RT cores, by the number in their name: Vulkan cannot be started on
them, or pictures stay noisy. NVIDIA lists no such table; these have been reported or follow from
their architecture. V100, P100 and older are found by their letter."""

_RT_CORES = {"T4", "A2", "A10", "A10G", "A16", "A40", "L4", "L40", "L40S"}
_QUERY = "index,name,driver_version,memory.total"


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as nvidia-smi tells it."""

    index: int
    name: str
    driver: str
    memory_mib: int


def list_gpus() -> list[Gpu]:
    """The GPUs of this machine; empty where nvidia-smi is not there or fails."""
    command = ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_gpus(done.stdout)


def parse_gpus(text: str) -> list[Gpu]:
    """Rows of nvidia-smi's CSV; what is no row is left out."""
    found = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 4 and parts[0].isdigit():
            memory = int(parts[3]) if parts[3].isdigit() else 0  # "[N/A]" where memory is shared
            found.append(Gpu(int(parts[0]), parts[1], parts[2], memory))
    return found


def has_rt_cores(name: str) -> bool | None:
    """Whether a GPU can trace rays; None for a name that is not known."""
    words = set(re.split(r"[\s\-_/]+", name.upper()))
    if words & set(NO_RT_CORES) or any(re.fullmatch(r"[KMPV]\d+\w*", word) for word in words):
        return False
    if "RTX" in words or words & _RT_CORES:
        return True
    return None


def rt_detail(name: str) -> str:
    """``has_rt_cores`` in a line, with the mend."""
    return {
        True: f"{name} has RT cores",
        False: f"{name} has no RT cores: RTX does not start on it; take an L4, L40S, A10G, T4 "
        "or an RTX card",
        None: f"it is not known whether {name} has RT cores; the test frame will tell",
    }[has_rt_cores(name)]


def driver_verdict(driver: str) -> tuple[bool, str]:
    """Whether Isaac Sim starts with a driver's version, and that in a line, with the mend."""
    version = version_of(driver)
    asked = version_of(os.environ.get("MIN_DRIVER_VERSION", "")) or MIN_DRIVER
    floor = ".".join(map(str, asked))
    if any(low <= version[:2] < high for low, high in BLOCKED_DRIVERS):
        mend = f"{RECOMMENDED_DRIVER} is recommended"
        return False, f"driver {driver} is one that Isaac Sim refuses; {mend}"
    if version < asked:
        return False, f"driver {driver} is older than {floor}; {RECOMMENDED_DRIVER} is recommended"
    return True, f"driver {driver}, at least {floor}"


def version_of(text: str) -> tuple[int, ...]:
    """The numbers of a version."""
    return tuple(int(part) for part in re.findall(r"\d+", text))
