"""The GPUs of this machine, for `simcloud doctor`: a note, unless Isaac Sim is asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from ctypes.util import find_library
from pathlib import Path

from simcloud.gpu import Gpu, driver_verdict, has_rt_cores, rt_detail
from simcloud_cli.findings import Finding

_ICD_FILES = (
    "/etc/vulkan/icd.d/nvidia_icd.json",
    "/usr/share/vulkan/icd.d/nvidia_icd.json",
    "/usr/share/vulkan/icd.d/nvidia_icd.x86_64.json",
)
"""Where NVIDIA's packages say which library is the Vulkan driver."""


def isaac_is_asked_for() -> bool:
    """Whether this environment's generator is to render with Isaac Sim."""
    return os.environ.get("SIMCLOUD_GENERATOR_BACKEND") == "isaac"


def gpu_findings(gpus: Sequence[Gpu], *, asked_for: bool, vulkan: str) -> list[Finding]:
    """What is to be said of GPUs.

    Args:
        gpus: as nvidia-smi lists them.
        asked_for: whether they must do: what they lack is then no note but a failure.
        vulkan: what is wrong with Vulkan; empty for nothing.
    """
    if not gpus:
        detail = (
            "none that nvidia-smi lists: Isaac Sim needs one with RT cores, NVIDIA's driver, and "
            "in a container the NVIDIA runtime"
            if asked_for
            else "none; pictures are rendered on the CPU"
        )
        return [Finding("GPU", ok=not asked_for, detail=detail)]
    found = []
    for gpu in gpus:
        name = f"GPU {gpu.index}"
        good, driver = driver_verdict(gpu.driver)
        able = has_rt_cores(gpu.name) is not False
        found += [
            _finding(name, able, rt_detail(gpu.name), asked_for),
            _finding(f"{name} driver", good, driver, asked_for),
        ]
    detail = vulkan or "NVIDIA's driver is there"
    return [*found, _finding("Vulkan", not vulkan, detail, asked_for)]


def vulkan_problem(icd_files: Sequence[str] = _ICD_FILES, library: str | None = None) -> str:
    """What keeps Vulkan from NVIDIA's driver; empty for nothing.

    Args:
        icd_files: where its description may be; ``VK_DRIVER_FILES`` goes before them.
        library: the driver's; None: it is looked for.
    """
    named = os.environ.get("VK_DRIVER_FILES") or os.environ.get("VK_ICD_FILENAMES")
    places = named.split(os.pathsep) if named else list(icd_files)
    mend = "install libnvidia-gl of the driver's version, or in a container set "
    mend += "NVIDIA_DRIVER_CAPABILITIES=all"
    if not (library or find_library("GLX_nvidia")):
        return f"libGLX_nvidia.so.0 is not there: {mend}"
    if not any(Path(place).is_file() for place in places):
        return f"none of {', '.join(places)} is there: {mend}"
    return ""


def _finding(name: str, good: bool, detail: str, asked_for: bool) -> Finding:
    if good:
        return Finding(name, ok=True, detail=detail)
    if asked_for:
        return Finding(name, ok=False, detail=detail)
    return Finding(name, ok=True, detail=f"note, for Isaac Sim only: {detail}")
