"""Whether the generator keeps every core at rendering: its whole path against rendering alone.

Both run as many one-threaded processes as there are CPUs. ``rendering alone`` is a session asked
for one picture after the other; ``whole path`` is the generator's pool as a call uses it: label QA,
encoding, checksums, the pipes and the frames' order. They take turns. The bound of either is CPUs
divided by its CPU seconds a frame; on a machine that does other work neither reaches it, and what
counts is how near the whole path comes to rendering alone.
"""

# ruff: noqa: T201 - talks on standard output

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from memory import SCENE, small_showroom  # beside this file

from simcloud.scene.catalog import read_catalog
from simcloud.spec.canonical import canonical_json
from simcloud.spec.model import Spec
from simcloud.spec.sample import sample
from simcloud_generator.backends.mitsuba.backend import MitsubaBackend
from simcloud_generator.backends.mitsuba.settings import MitsubaSettings
from simcloud_generator.jobs import FrameResult, RenderJob, WorkerConfiguration
from simcloud_generator.pool import Recycling, WorkerPool, open_pool
from simcloud_generator.shard_run import lookahead

BOUND = 0.95
"""Least share of the bound, and of rendering alone's share, that the whole path must reach."""
MOST_NOT_RENDERING = 0.20
STAGE = SCENE / "stage.usda"


@dataclass(frozen=True, slots=True)
class Turn:
    """Frames made by all processes together."""

    frames: int
    wall_s: float
    cpu_s: float
    rendering: float
    """Share of the stages' time that is the stage ``render``."""

    @property
    def kept(self) -> float:
        """Frames a second, as a share of CPUs divided by CPU seconds a frame."""
        return self.cpu_s / self.wall_s / len(os.sched_getaffinity(0))

    def row(self, name: str) -> str:
        """Of the table that is printed."""
        return (
            f"| {name} | {self.frames / self.wall_s:.3f} | {self.cpu_s / self.frames:.2f} "
            f"| {self.kept:.1%} |"
        )


def render_alone(pipe: Connection, spec: Spec, kernels: Path) -> None:
    """Body of a process: for each range of frames that comes, the CPU seconds that it took."""
    renderer = spec.renderer
    settings = MitsubaSettings(
        spp=renderer.samples_per_pixel,
        max_depth=renderer.max_depth,
        denoise=renderer.denoise,
        aux_spp=renderer.guide_samples,
        threads=1,
        kernel_cache=kernels,
    )
    session = MitsubaBackend(settings).open(STAGE)
    catalog = read_catalog(STAGE)
    while (frames := pipe.recv()) is not None:
        begin = time.process_time()
        for frame in frames:
            session.render(sample(spec, catalog, frame), ["rgb"])
        pipe.send(time.process_time() - begin)


class Alone:
    """Processes that only render."""

    def __init__(self, spec: Spec, kernels: Path, processes: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        for _ in range(processes):
            ours, theirs = spawn.Pipe()
            spawn.Process(target=render_alone, args=(theirs, spec, kernels), daemon=True).start()
            self._pipes.append(ours)

    def turn(self, frames: int) -> Turn:
        """Renders as many frames in all, the same ones that the whole path makes."""
        begin = time.perf_counter()
        for number, pipe in enumerate(self._pipes):
            pipe.send(range(number, frames, len(self._pipes)))
        cpu_s = sum(pipe.recv() for pipe in self._pipes)
        return Turn(frames, time.perf_counter() - begin, cpu_s, 1.0)

    def close(self) -> None:
        """Ends the processes."""
        for pipe in self._pipes:
            pipe.send(None)


async def whole_turn(pool: WorkerPool, payload: bytes, frames: int) -> Turn:
    """Makes frames as a shard does: in order, a bounded number ahead."""
    made: list[FrameResult] = []
    own = time.process_time()
    begin = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        window: deque[asyncio.Task[FrameResult]] = deque()
        for frame in range(frames):
            if len(window) == lookahead(pool):
                made.append(await window.popleft())
            job = RenderJob(stage=STAGE, spec_json=payload, split="train", frame=frame)
            window.append(group.create_task(pool.render(job)))
        made += [await task for task in window]
    wall_s = time.perf_counter() - begin
    stages = sum(sum(result.timings_s.values()) for result in made)
    return Turn(
        frames=frames,
        wall_s=wall_s,
        cpu_s=sum(result.cpu_s for result in made) + time.process_time() - own,
        rendering=sum(result.timings_s["render"] for result in made) / stages,
    )


def total(turns: list[Turn]) -> Turn:
    """All turns as one."""
    return Turn(
        frames=sum(turn.frames for turn in turns),
        wall_s=sum(turn.wall_s for turn in turns),
        cpu_s=sum(turn.cpu_s for turn in turns),
        rendering=sum(turn.rendering for turn in turns) / len(turns),
    )


async def measure(
    spec: Spec, *, kernels: Path, frames: int, rounds: int
) -> tuple[list[Turn], list[Turn]]:
    """Turns of rendering alone and of the whole path, each after a round that is not counted."""
    cpus = len(os.sched_getaffinity(0))
    configuration = WorkerConfiguration(variant="auto", threads=1, kernel_cache=kernels)
    never = Recycling(frames=0, rss_bytes=0)
    payload = canonical_json(spec)
    alone: list[Turn] = []
    whole: list[Turn] = []
    async with open_pool(workers=cpus, configuration=configuration, recycling=never) as pool:
        rivals = Alone(spec, kernels, cpus)
        for _ in range(rounds + 1):
            alone.append(await asyncio.to_thread(rivals.turn, frames))
            whole.append(await whole_turn(pool, payload, frames))
        rivals.close()
    return alone[1:], whole[1:]


def main() -> None:
    """Prints both, and whether the whole path keeps up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=16, help="of a turn, all processes together")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--size", default="640x480", help="WIDTHxHEIGHT of the picture")
    parser.add_argument("--kernels", type=Path, default=Path(tempfile.gettempdir()) / "kernels")
    arguments = parser.parse_args()
    width, height = (int(side) for side in arguments.size.split("x"))
    turns = asyncio.run(
        measure(
            small_showroom(width, height),
            kernels=arguments.kernels,
            frames=arguments.frames,
            rounds=arguments.rounds,
        )
    )
    alone, whole = (total(found) for found in turns)
    print("| | frames/s | CPU s a frame | of CPUs ÷ CPU s a frame |\n|---|---|---|---|")
    print(alone.row("rendering alone"))
    print(whole.row("whole path"))
    relative = whole.kept / alone.kept
    print(f"whole path keeps {relative:.1%} of what rendering alone keeps (at least {BOUND:.0%})")
    print(f"not rendering: {1 - whole.rendering:.1%} (at most {MOST_NOT_RENDERING:.0%})")
    passed = max(relative, whole.kept) >= BOUND and 1 - whole.rendering <= MOST_NOT_RENDERING
    raise SystemExit(0 if passed else 1)


if __name__ == "__main__":
    main()
