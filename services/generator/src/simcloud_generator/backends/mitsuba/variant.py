"""Which Mitsuba variant this machine can run, and the set-up that must precede its import.

Dr.Jit takes the newest LLVM that it finds, and LLVM 15 and 16 abort the whole process at the first
kernel ("Cannot select: f32 = fmaximum"). So LLVM is chosen here by its version, and the variant is
tried in a process of its own before this one imports it. A trial takes seconds: what one process
found it hands to those it starts, and success is remembered beside the compiled kernels.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from simcloud.errors import PreconditionFailed

MIN_LLVM = 19
VARIANTS = ("llvm_ad_rgb", "scalar_rgb", "cuda_ad_rgb")
LIBRARY_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
)
PROBE_TIMEOUT_S = 120

_PROBE = """
import mitsuba as mi
mi.set_variant("{variant}")
import numpy as np
scene = mi.load_dict({{"type": "scene", "integrator": {{"type": "path"}},
    "light": {{"type": "constant"}}, "shape": {{"type": "sphere"}},
    "sensor": {{"type": "perspective", "film": {{"type": "hdrfilm", "width": 4, "height": 4,
                "rfilter": {{"type": "box"}}}}}}}})
assert np.isfinite(np.array(mi.render(scene, spp=1))).all()
"""


def find_llvm() -> tuple[Path, int] | None:
    """The oldest LLVM of at least ``MIN_LLVM`` that is installed, with its major version.

    The oldest, because it is the one that was measured; ``DRJIT_LIBLLVM_PATH`` overrides it.
    """
    forced = os.environ.get("DRJIT_LIBLLVM_PATH")
    if forced:
        version = _major(Path(forced).resolve())
        return (Path(forced), version) if version >= MIN_LLVM else None
    found = []
    for folder in LIBRARY_FOLDERS:
        for path in sorted(Path(folder).glob("libLLVM*.so*")):
            version = _major(path.resolve())
            if version >= MIN_LLVM:
                found.append((version, path.resolve()))
    return (min(found)[1], min(found)[0]) if found else None


def _major(path: Path) -> int:
    """Major version in a library's file name (``libLLVM.so.19.1``, ``libLLVM-19.so``)."""
    match = re.search(r"libLLVM-(\d+)|libLLVM\.so\.(\d+)", path.name)
    return int(match.group(1) or match.group(2)) if match else 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What trying a variant has shown."""

    variant: str
    library: str
    """Path of the LLVM that it was tried with; empty where the variant needs none."""
    problem: str | None
    """Why it does not render here; None: it does."""


_verdicts: dict[tuple[str, str], Verdict] = {}
"""Of this process, by variant and library."""


def adopt(verdicts: Iterable[Verdict]) -> None:
    """Takes over what the process that started this one has found out."""
    _verdicts.update({(each.variant, each.library): each for each in verdicts})


def usable(variant: str) -> str | None:
    """None when a variant renders on this machine, else why it does not."""
    return judge(variant).problem


def judge(variant: str, *, memory: Path | None = None) -> Verdict:
    """Tries a variant, unless it was tried already: by this process, or by one before it.

    Args:
        variant: one of ``VARIANTS``.
        memory: folder in which successes are remembered; None: there is none. A failure is never
            remembered there, since the next attempt may come after its cause was mended.
    """
    library = ""
    if variant == "llvm_ad_rgb":
        llvm = find_llvm()
        if llvm is None:
            return Verdict(variant, "", f"no LLVM >= {MIN_LLVM}: install Debian's libllvm19")
        library = str(llvm[0])
    known = _verdicts.get((variant, library))
    if known is not None:
        return known
    note = None if memory is None else memory / f"usable-{_machine_key(variant, library)}"
    if note is not None and note.exists():
        verdict = Verdict(variant, library, None)
    else:
        verdict = Verdict(variant, library, _tried(variant, library))
        if note is not None and verdict.problem is None:
            with contextlib.suppress(OSError):  # the next process tries again, no more
                note.parent.mkdir(parents=True, exist_ok=True)
                note.touch()
    adopt([verdict])
    return verdict


def _machine_key(variant: str, library: str) -> str:
    """Digest of what a trial's outcome may depend on."""
    parts = [variant, library, platform.python_version(), _cpu_features()]
    parts += [f"{name}={importlib.metadata.version(name)}" for name in ("mitsuba", "drjit")]
    if library:
        status = Path(library).stat()
        parts += [str(status.st_mtime_ns), str(status.st_size)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _cpu_features() -> str:
    """What Linux says of the first CPU; the folder may be shared by machines of several kinds."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return platform.machine()


def _tried(variant: str, library: str) -> str | None:
    """Renders a 4x4 picture in a process of its own; why that failed."""
    environment = {**os.environ, **({"DRJIT_LIBLLVM_PATH": library} if library else {})}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE.format(variant=variant)],
            env=environment,
            capture_output=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"the trial render did not end within {PROBE_TIMEOUT_S} s"
    if done.returncode == 0:
        return None
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"the trial render ended with code {done.returncode}"


def choose_variant(asked: str) -> str:
    """The variant to render with.

    Args:
        asked: a variant, or ``auto``: LLVM where it works, else scalar. CUDA only when asked for.

    Raises:
        PreconditionFailed: this machine cannot render with what was asked for.
    """
    if asked == "auto":
        return "llvm_ad_rgb" if usable("llvm_ad_rgb") is None else "scalar_rgb"
    if asked not in VARIANTS:
        raise PreconditionFailed(f"Mitsuba variant {asked} is none of {', '.join(VARIANTS)}")
    problem = usable(asked)
    if problem is not None:
        raise PreconditionFailed(
            f"Mitsuba variant {asked} does not run on this machine: {problem}", variant=asked
        )
    return asked


def prepare_process(variant: str, *, threads: int, kernel_cache: Path | None) -> None:
    """Sets Dr.Jit and Mitsuba up for a variant; once per process, before anything is rendered.

    Args:
        variant: one that :func:`choose_variant` returned.
        threads: of the renderer; 0 takes one per CPU that the process may use.
        kernel_cache: folder for compiled kernels; None leaves Dr.Jit's own choice.

    Raises:
        PreconditionFailed: the process already renders with another variant.
    """
    if variant == "llvm_ad_rgb" and "drjit" not in sys.modules:
        llvm = find_llvm()
        if llvm is not None:
            os.environ["DRJIT_LIBLLVM_PATH"] = str(llvm[0])
    if kernel_cache is not None and "drjit" not in sys.modules:
        kernel_cache.mkdir(parents=True, exist_ok=True)
        os.environ["DRJIT_CACHE_DIR"] = str(kernel_cache)
    import drjit
    import mitsuba

    current = mitsuba.variant()
    if current not in (None, variant):
        raise PreconditionFailed(
            f"this process renders with {current} already; start another one for {variant}"
        )
    drjit.set_thread_count(threads or len(os.sched_getaffinity(0)))
    if current is None:
        mitsuba.set_variant(variant)


def kernels_got() -> tuple[int, int]:
    """Kernels that this process compiled, and those it read from the cache on disk, so far."""
    if "drjit" not in sys.modules:
        return 0, 0
    import drjit

    # Dr.Jit's counters since the start: launches, misses in memory that the disk had, others
    _, cached, compiled = drjit.detail.launch_stats()
    return compiled, cached
