"""Blender's Cycles as a peer: an environment of its own, one process a picture."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import OpenEXR

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
_ROOT = HERE.parents[2]
_RENDER_TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """What Cycles answered."""

    channels: dict[str, npt.NDArray[Any]]
    """(H, W) or (H, W, C) float32 by the EXR channel's last name parts (``Depth.Z``)."""
    cpu_s: float
    """User and system seconds of the cheapest render call, its scene build included."""
    version: str
    """Of Blender."""


def interpreter() -> Path:
    """The Python that has ``bpy``; makes its environment at the first call (about 1 GB)."""
    venv = Path(os.environ.get("SIMCLOUD_BENCH_CYCLES_VENV", _ROOT / ".venv-cycles"))
    python = venv / "bin" / "python"
    done = venv / ".installed"
    if not done.exists():
        uv = _ROOT / ".venv" / "bin" / "uv"
        own = _ROOT / ".venv" / "bin" / "python"
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", own, venv], check=True)
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--python", python, "-r", REQUIREMENTS], check=True
        )
        done.touch()
    return python


def render(request: dict[str, Any]) -> Picture:
    """Has Cycles render what ``render.py`` says a request is, ``output`` left out.

    Raises:
        RuntimeError: Blender failed; the message has its last output.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "picture.exr"
        asked = Path(folder) / "request.json"
        asked.write_text(json.dumps({**request, "output": str(output)}))
        done = subprocess.run(
            [interpreter(), HERE / "render.py", asked],
            capture_output=True,
            text=True,
            check=False,
            timeout=_RENDER_TIMEOUT_S,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if done.returncode or not lines:
            raise RuntimeError(f"Blender failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        result = json.loads(lines[-1].removeprefix("RESULT "))
        with OpenEXR.File(str(output)) as file:
            channels = {
                name.split(".", 1)[-1]: np.array(channel.pixels, dtype=np.float32)
                for part in file.parts
                for name, channel in part.channels.items()
            }
    return Picture(channels=channels, cpu_s=result["cpu_s"], version=result["blender"])
