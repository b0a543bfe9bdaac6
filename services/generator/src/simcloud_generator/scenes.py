"""Scenes by digest: read from S3 into a bounded cache, looked at once, then opened by workers."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from simcloud.errors import InvalidRequest, NotFound
from simcloud.scene.apart import inspect_apart
from simcloud.scene.limits import SceneLimits
from simcloud.scene.store import SceneStore
from simcloud.scene.translate.reading import listed
from simcloud.spec.model import SceneRef

REMEMBERED = 256
"""Stages whose verdict is kept: a digest's never changes."""


@dataclass(slots=True)
class _Gate:
    """A lock, and how many wait for it or hold it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Scenes:
    """The stages that this generator can open.

    A stage is first looked at in a process of its own, within the limits' time and memory, so that
    whatever a caller stored harms no worker.

    Args:
        store: scenes in S3 and their cache on disk.
        limits: what a scene may cost; None: stages are not looked at (Isaac Sim opens them with
            a USD library that no other process has).
    """

    def __init__(self, store: SceneStore, *, limits: SceneLimits | None) -> None:
        self._store = store
        self._limits = limits
        self._gates: dict[str, _Gate] = {}
        self._one_at_a_time = asyncio.Lock()
        self._verdicts: OrderedDict[tuple[str, str], tuple[str, ...]] = OrderedDict()

    async def fetch(self, bucket: str, prefix: str, scene: SceneRef) -> Path:
        """The root layer of a scene on this machine.

        Raises:
            NotFound: no such scene in S3, or it has no such root layer.
            InvalidRequest: the stage can't be rendered; everything that is wrong is said.
            Corruption: what came is not what the digest says.
            StorageError: S3 failed.
        """
        async with self._alone(scene.digest):
            folder = await self._store.fetch(bucket=bucket, prefix=prefix, digest=scene.digest)
            stage = _root_layer(folder, scene)
            problems = await self._problems(stage, folder, scene)
        if problems:
            raise InvalidRequest("scene", listed(list(problems)))
        return stage

    async def _problems(self, stage: Path, folder: Path, scene: SceneRef) -> tuple[str, ...]:
        if self._limits is None:
            return ()
        key = (scene.digest, scene.root)
        if key not in self._verdicts:
            async with self._one_at_a_time:  # each may take the limit's memory
                found = await inspect_apart(stage, root=folder, limits=self._limits)
            # paths in it are the cache's; callers know the scene by its own
            self._verdicts[key] = tuple(
                problem.replace(f"{folder}/", "") for problem in found.problems
            )
            while len(self._verdicts) > REMEMBERED:
                self._verdicts.popitem(last=False)
        self._verdicts.move_to_end(key)
        return self._verdicts[key]

    @asynccontextmanager
    async def _alone(self, digest: str) -> AsyncIterator[None]:
        """One caller a digest: the others find it in the cache."""
        gate = self._gates.setdefault(digest, _Gate())
        gate.users += 1
        try:
            async with gate.lock:
                yield
        finally:
            gate.users -= 1
            if not gate.users:
                del self._gates[digest]


def _root_layer(folder: Path, scene: SceneRef) -> Path:
    """Path of a scene's root layer.

    Raises:
        NotFound: it has no such file.
        InvalidRequest: the name leads out of the scene.
    """
    stage = folder / scene.root
    if not stage.resolve().is_relative_to(folder.resolve()):
        raise InvalidRequest("scene.root", f"{scene.root} leads out of the scene")
    if not stage.is_file():
        raise NotFound(
            f"scene {scene.digest[:12]} has no {scene.root}: name its root layer in scene.root"
        )
    return stage
