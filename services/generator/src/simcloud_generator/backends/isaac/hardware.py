"""What Isaac Sim needs of a machine, looked at before it is started: GPU, driver, caches."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simcloud_generator.backends.isaac.settings import IsaacSettings
from simcloud_generator.jobs import Preflight

MIN_DRIVER = (570, 169)
"""``MIN_DRIVER_VERSION`` of Isaac's image; its variable in the environment goes before this."""

BLOCKED_DRIVERS = (((570, 0), (570, 169)), ((575, 0), (575, 64)))
"""Driver ranges [from, before) that Isaac Sim 6.2 refuses (``driver-requirements.json``)."""

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

CACHE_FOLDERS = (
    ".cache",
    ".nv/ComputeCache",
    ".nvidia-omniverse/logs",
    ".nvidia-omniverse/config",
    ".local/share/ov/data",
    ".local/share/ov/pkg",
)
"""Volumes of Isaac's image below its home, /isaac-sim, all owned by uid 1234. Without the first
two every start compiles all shaders again."""

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
    if "RTX" in words or words & {"T4", "A2", "A10", "A10G", "A16", "A40", "L4", "L40", "L40S"}:
        return True
    return None


def check_hardware(settings: IsaacSettings, gpus: Sequence[Gpu]) -> tuple[Preflight, ...]:
    """Looks at the GPUs of the settings and at the folders of caches.

    Args:
        settings: which GPUs are to render.
        gpus: those that there are.
    """
    by_index = {gpu.index: gpu for gpu in gpus}
    checks = []
    for index in settings.gpus:
        gpu = by_index.get(index)
        if gpu is None:
            there = ", ".join(f"{item.index} {item.name}" for item in gpus) or "none"
            detail = (
                f"there is no GPU {index} (nvidia-smi lists: {there}); the container needs the "
                "NVIDIA runtime and NVIDIA_DRIVER_CAPABILITIES=all"
            )
            checks.append(Preflight(name=f"gpu_{index}", ok=False, detail=detail))
            continue
        checks += [_rt_check(gpu), _driver_check(gpu), _memory_check(gpu)]
    return (*checks, _cache_check(Path.home(), CACHE_FOLDERS))


def must_pass(checks: Sequence[Preflight]) -> list[Preflight]:
    """The failed checks that Isaac Sim cannot start without."""
    return [
        check
        for check in checks
        if not check.ok and check.name.startswith(("gpu_", "rt_cores_", "driver_"))
    ]


def _rt_check(gpu: Gpu) -> Preflight:
    able = has_rt_cores(gpu.name)
    detail = {
        True: f"{gpu.name} has RT cores",
        False: f"{gpu.name} has no RT cores: RTX does not start on it; take an L4, L40S, A10G, T4 "
        "or an RTX card",
        None: f"it is not known whether {gpu.name} has RT cores; the test frame will tell",
    }[able]
    return Preflight(name=f"rt_cores_{gpu.index}", ok=able is not False, detail=detail)


def _driver_check(gpu: Gpu) -> Preflight:
    version = _version(gpu.driver)
    asked = _version(os.environ.get("MIN_DRIVER_VERSION", "")) or MIN_DRIVER
    floor = ".".join(map(str, asked))
    blocked = any(low <= version[:2] < high for low, high in BLOCKED_DRIVERS)
    detail = f"driver {gpu.driver}, at least {floor}"
    if blocked:
        detail = f"driver {gpu.driver} is one that Isaac Sim refuses; 580.95.05 is recommended"
    elif version < asked:
        detail = f"driver {gpu.driver} is older than {floor}; 580.95.05 is recommended"
    ok = not blocked and version >= asked
    return Preflight(name=f"driver_{gpu.index}", ok=ok, detail=detail)


def _memory_check(gpu: Gpu) -> Preflight:
    detail = f"{gpu.memory_mib} MiB of GPU memory, 16 GB are asked for"
    return Preflight(name=f"memory_{gpu.index}", ok=gpu.memory_mib >= MIN_MEMORY_MIB, detail=detail)


def _cache_check(home: Path, folders: Sequence[str]) -> Preflight:
    closed = [folder for folder in folders if not _writable(home / folder)]
    detail = f"caches below {home} can be written"
    if closed:
        detail = (
            f"{', '.join(closed)} below {home} cannot be written by uid {os.geteuid()}: every "
            "start compiles shaders again; mount volumes there, owned by Isaac's uid 1234"
        )
    return Preflight(name="caches", ok=not closed, detail=detail)


def _writable(folder: Path) -> bool:
    """Whether a folder is there or can be made, and can be written."""
    while not folder.exists():
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))
