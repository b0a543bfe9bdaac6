"""The catalogue's file watched: a new content that is valid is served, another is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from simcloud.concurrency.service import single_error
from simcloud.errors import PreconditionFailed, SimcloudError
from simcloud.telemetry.logging import get_logger
from simcloud_inference_router.catalog import CatalogReading, digest_now, read_catalog
from simcloud_inference_router.catalog_status import (
    LOADED,
    REJECTED,
    UNCHANGED,
    CatalogChange,
    CatalogStatus,
)
from simcloud_inference_router.metrics import CatalogCollector, exported
from simcloud_inference_router.router import Router
from simcloud_inference_router.served import Served

SETTLE_S = 1.0
"""Longest time for which a new content must stay as it is before the watch takes it: a file that is
written in place is read half written otherwise, and half a catalogue may be a valid one."""

_log = get_logger(__name__)


class CatalogReloader:
    """Has the router serve what the catalogue's file says.

    Made by ``watched_catalog``. One that is not valid changes nothing: the last good one is served,
    and the error is logged once for each content.

    Args:
        router: whose models are replaced.
        path: the catalogue's file.
        read: what it said when the router was made of it.
        poll_s: seconds between two looks; 0: only ``reload`` and ``wake`` look.
    """

    def __init__(self, router: Router, *, path: Path, read: CatalogReading, poll_s: float) -> None:
        self.status = CatalogStatus(digest=read.digest, loaded_at_s=router.clock.time())
        self._router = router
        self._path = path
        # What was read last, served or not.
        self._read = read
        self._poll_s = poll_s
        self._reading = asyncio.Lock()
        self._woken = asyncio.Event()
        self._logged = ""
        # What the last look found, when that was new.
        self._unsteady = ""

    @property
    def served(self) -> Served:
        """The router's models."""
        return self._router.served

    async def reload(self) -> CatalogChange:
        """Reads the file now, whatever was read before.

        Returns:
            What changed; nothing when the file says what it said.

        Raises:
            PreconditionFailed: it can't be read or is not valid; what was served is served on.
        """
        async with self._reading:
            # From here on all in one step: who gives up while it is read has changed nothing.
            read = self._read = await asyncio.to_thread(read_catalog, self._path)
            if read.catalog is None:
                raise self._rejected(read.problem)
            try:
                change = self._router.served.replace(read.catalog)
            except (SimcloudError, ValueError) as exc:
                raise self._rejected(f"catalogue {self._path} can't be served: {exc}") from exc
            self._accepted(change)
            return change

    def wake(self) -> None:
        """Has the watch read the file at once; for signal handlers."""
        self._woken.set()

    async def look(self) -> None:
        """Reads the file if its content is new, and was the same at the last look.

        Raises:
            PreconditionFailed: as ``reload``.
        """
        found = await asyncio.to_thread(digest_now, self._path, self._read.label_files)
        if found == self._read.digest:
            self._unsteady = ""
        elif found == self._unsteady:
            self._unsteady = ""
            await self.reload()
        else:
            self._unsteady = found

    async def watch(self) -> None:
        """Looks again and again, and reads the file when woken; until cancelled."""
        while True:
            pause_s = min(SETTLE_S, self._poll_s) if self._unsteady else self._poll_s
            try:
                if await self._woken_within(pause_s or None):
                    await self.reload()
                else:
                    await self.look()
            except PreconditionFailed:
                # Logged, and among the metrics.
                pass
            except Exception:
                # Whatever it is, the requests that are served have nothing to do with it.
                _log.exception("reading the catalogue failed; the last good one is served")

    async def _woken_within(self, seconds: float | None) -> bool:
        """Waits; whether someone asked for a look before the time was over."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return True

    def _accepted(self, change: CatalogChange) -> None:
        status, digest = self.status, self._read.digest
        mended = bool(status.problem)
        status.problem = self._logged = ""
        if digest == status.digest:
            status.reloads[UNCHANGED] += 1
            if mended:
                _log.info("the catalogue is valid again, and what is served", digest=digest)
            return
        status.reloads[LOADED] += 1
        status.digest, status.loaded_at_s = digest, self._router.clock.time()
        _log.info(
            "a new catalogue is served",
            digest=digest,
            added=change.added,
            changed=change.changed,
            removed=change.removed,
        )

    def _rejected(self, problem: str) -> PreconditionFailed:
        status, digest = self.status, self._read.digest
        status.reloads[REJECTED] += 1
        status.problem = problem
        if digest != self._logged:
            self._logged = digest
            _log.error(
                "the new catalogue is not taken; the last good one is served",
                problem=problem,
                digest=digest,
                served=status.digest,
            )
        return PreconditionFailed(problem)


@asynccontextmanager
async def watched_catalog(
    router: Router, *, path: Path, read: CatalogReading, poll_s: float
) -> AsyncIterator[CatalogReloader]:
    """Watches the catalogue's file within the block, and shows its state among the metrics.

    Args:
        router: made of what was read.
        path: the catalogue's file.
        read: what it said then.
        poll_s: as for ``CatalogReloader``.
    """
    reloader = CatalogReloader(router, path=path, read=read, poll_s=poll_s)
    with exported(CatalogCollector(reloader.status)):
        async with single_error(), asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(reloader.watch(), name="catalogue")
            try:
                yield reloader
            finally:
                watch.cancel()
