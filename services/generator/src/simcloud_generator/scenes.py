"""Scenes by digest: read from S3 into a bounded cache, one fetch at a time for each."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path

from simcloud.errors import NotFound
from simcloud.scene.store import SceneStore
from simcloud.spec.model import SceneRef


class Scenes:
    """The stages that this generator can open.

    Args:
        store: scenes in S3 and their cache on disk.
    """

    def __init__(self, store: SceneStore) -> None:
        self._store = store
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def fetch(self, bucket: str, prefix: str, scene: SceneRef) -> Path:
        """The root layer of a scene on this machine.

        Raises:
            NotFound: no such scene in S3, or it has no such root layer.
            Corruption: what came is not what the digest says.
            StorageError: S3 failed.
        """
        async with self._locks[scene.digest]:
            folder = await self._store.fetch(bucket=bucket, prefix=prefix, digest=scene.digest)
        stage = folder / scene.root
        if not stage.is_file():
            raise NotFound(
                f"scene {scene.digest[:12]} has no {scene.root}: name its root layer in scene.root"
            )
        return stage
