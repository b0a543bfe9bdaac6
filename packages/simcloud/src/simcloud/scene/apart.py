"""Looking at a stage in a process of its own.

A stage comes from anywhere. USD is native code: a broken file can crash it, and a small one can
make it read for hours or fill the memory. So it is opened where neither harms anybody: under limits
of time and address space that the kernel enforces.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import resource
import signal
import sys
from pathlib import Path

from simcloud.scene.inspected import SceneInspection, inspection_from_json, inspection_to_json
from simcloud.scene.inspection import inspect_stage
from simcloud.scene.limits import SceneLimits

_MAX_REPORT_BYTES = 64 * 1024 * 1024
_MIB = 1024 * 1024
_FEW_THREADS = {
    # Each thread reserves address space (glibc's arenas, stacks, BLAS buffers) by the number of
    # CPUs, which the limit would count.
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PXR_WORK_THREAD_LIMIT": "1",
}


USD_PATH = "SIMCLOUD_USD_PATH"
"""Folder of a USD for this process alone. Isaac Sim's Python has one only once its application
runs, and a second one on the path of that application would end it."""


def _environment() -> dict[str, str]:
    environment = {**os.environ, **_FEW_THREADS}
    if own := environment.get(USD_PATH):
        paths = [own, *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment


async def inspect_apart(
    stage: Path, *, root: Path | None = None, limits: SceneLimits | None = None
) -> SceneInspection:
    """Looks at a stage, whatever it is, within the limits' time and memory.

    A cancelled call ends the process. A crash, a stage that takes too long and one that takes too
    much memory are problems of the inspection, like everything else that is wrong with it.

    Args:
        stage: the root layer.
        root: folder that every file must lie below; None: anywhere.
        limits: bounds; the defaults when None.
    """
    limits = limits or SceneLimits()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "simcloud.scene.apart",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # USD's warnings; errors are in the report
        env=_environment(),
    )
    ask = {
        "stage": str(stage),
        "root": str(root) if root is not None else None,
        "limits": limits.model_dump(mode="json"),
    }
    try:
        async with asyncio.timeout(limits.inspect_seconds):
            report = await _exchange(process, json.dumps(ask).encode())
    except TimeoutError:
        return _failed(stage, _too_long(limits))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if report is None or process.returncode:
        return _failed(stage, _death(process.returncode or 0, limits))
    return inspection_from_json(report)


async def _exchange(process: asyncio.subprocess.Process, ask: bytes) -> bytes | None:
    """The process's report; None when it ended without one."""
    assert process.stdin is not None
    assert process.stdout is not None
    # It may have ended already; uvloop says that by a RuntimeError.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, RuntimeError):
        process.stdin.write(ask)
        await process.stdin.drain()
        process.stdin.close()
    report = bytearray()
    while chunk := await process.stdout.read(_MIB):
        report += chunk
        if len(report) > _MAX_REPORT_BYTES:
            return None
    await process.wait()
    return bytes(report) or None


def _failed(stage: Path, problem: str) -> SceneInspection:
    return SceneInspection(stage=str(stage), problems=(f"{stage} {problem}",))


def _too_long(limits: SceneLimits) -> str:
    return (
        f"took more than {limits.inspect_seconds:g} s to be read (scene_limits.inspect_seconds): "
        "simplify the stage, or raise the limit"
    )


def _too_large(limits: SceneLimits) -> str:
    return (
        f"takes more than {limits.inspect_memory_mib} MiB to be read "
        "(scene_limits.inspect_memory_mib): simplify the stage, or raise the limit"
    )


def _death(code: int, limits: SceneLimits) -> str:
    if code == -signal.SIGXCPU:
        return _too_long(limits)
    # native code that gets no memory may end in either of the last two
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return (
        f"crashed the USD library ({how}): the file is broken, export it again; or it takes more "
        f"than {limits.inspect_memory_mib} MiB to be read (scene_limits.inspect_memory_mib)"
    )


def _confine(limits: SceneLimits) -> None:
    memory = limits.inspect_memory_mib * _MIB
    seconds = math.ceil(limits.inspect_seconds)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it has nothing to write


def _main() -> None:
    ask = json.loads(sys.stdin.buffer.read())
    limits = SceneLimits.model_validate(ask["limits"])
    stage, root = Path(ask["stage"]), ask["root"]
    _confine(limits)
    # Native code may print: the report has a way out of its own.
    answer = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        found = inspect_stage(stage, root=Path(root) if root else None, limits=limits)
    except MemoryError:
        found = _failed(stage, _too_large(limits))
    with os.fdopen(answer, "wb") as report:
        report.write(inspection_to_json(found))
    os._exit(0)  # whatever state a broken stage left the native library in, it is not torn down


if __name__ == "__main__":
    _main()
