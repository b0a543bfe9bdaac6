"""Seconds until the first picture is on disk, and what happens on the way there.

``simcloud run`` on the showroom in a state folder of its own: once so that kernels are compiled and
the scene is stored, then as a user sees it who runs a second time. The wall clock counts only on a
machine that does nothing else; beside it are the CPU seconds that all processes of the run had
spent by then, which divided by the CPUs are the least that it can take.
"""

# ruff: noqa: T201 - talks on standard output

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

SPEC = Path(__file__).resolve().parents[2] / "scenes" / "showroom" / "spec.yaml"
BAR_S = 20.0
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


def cpu_seconds(root: int) -> float:
    """User and system time of a process and all that it started, ended ones included."""
    spent: dict[int, float] = {}
    parents: dict[int, int] = {}
    for process, parent, seconds in _processes():
        spent[process], parents[process] = seconds, parent
    family = {root}
    grown = True
    while grown:
        children = {child for child, parent in parents.items() if parent in family} - family
        family |= children
        grown = bool(children)
    return sum(spent.get(process, 0.0) for process in family)


def _processes() -> Iterator[tuple[int, int, float]]:
    """Number, parent and CPU seconds, those of reaped children included, of each process."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:  # it has just ended
            continue
        fields = text.rpartition(")")[2].split()
        ticks = sum(int(value) for value in fields[11:15])  # utime, stime, cutime, cstime
        yield int(folder.name), int(fields[1]), ticks * _TICK_S


def run(folder: Path, name: str, *, told: bool) -> tuple[float, float]:
    """Runs two frames; seconds and CPU seconds until the first picture.

    Args:
        folder: working folder; the state is below it.
        name: of the run.
        told: whether the messages until then are printed, each with its time.

    Raises:
        SystemExit: the run failed, or made no picture ahead.
    """
    command = [sys.executable, "-m", "simcloud_cli", "run", str(SPEC), "--name", name]
    found: tuple[float, float] | None = None
    begin = time.perf_counter()
    with subprocess.Popen(
        [*command, "--frames", "2", "--frames-per-shard", "12"],
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            passed = time.perf_counter() - begin
            if found is None and line.startswith("first picture"):  # it is on disk now
                found = passed, cpu_seconds(process.pid)
            if told and found is None:
                print(f"  {passed:5.1f} s  {line.rstrip()[:90]}", flush=True)
    if found is None or process.returncode:
        raise SystemExit(f"the run ended with {process.returncode}; first picture: {found}")
    return found


def main() -> None:
    """Prints what each run took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="warm runs")
    parser.add_argument("--state", type=Path, help="working folder of a run before: already warm")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="first-picture-") as temporary:
        folder = asked.state or Path(temporary)
        if asked.state is None:
            wall_s, cpu_s = run(folder, "cold", told=False)
            print(f"cold: {wall_s:.1f} s, {cpu_s:.1f} CPU-s")
        for number in range(asked.rounds):
            name = f"warm-{os.getpid()}-{number}"
            wall_s, cpu_s = run(folder, name, told=number == 0)
            print(f"warm: {wall_s:.1f} s (at most {BAR_S:g}), {cpu_s:.1f} CPU-s", flush=True)


if __name__ == "__main__":
    main()
