"""What Isaac Sim needs of a machine, looked at before it is started: GPU, driver, caches."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from simcloud.gpu import MIN_MEMORY_MIB, Gpu, driver_verdict, has_rt_cores, rt_detail
from simcloud_generator.backends.isaac.settings import IsaacSettings
from simcloud_generator.jobs import Preflight

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
    return Preflight(name=f"rt_cores_{gpu.index}", ok=able is not False, detail=rt_detail(gpu.name))


def _driver_check(gpu: Gpu) -> Preflight:
    ok, detail = driver_verdict(gpu.driver)
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
