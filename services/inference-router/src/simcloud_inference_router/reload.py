"""The catalogue's file watched: a new content that is valid is served, another is not.

What its `discovery` finds is served beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from simcloud.concurrency.service import OneOperation
from simcloud.errors import PreconditionFailed, SimcloudError
from simcloud.telemetry.logging import get_logger
from simcloud_inference_router.catalog import Catalog, CatalogReading, digest_now, read_catalog
from simcloud_inference_router.catalog_status import (
    LOADED,
    REJECTED,
    UNCHANGED,
    CatalogChange,
    CatalogStatus,
    DiscoveryStatus,
)
from simcloud_inference_router.discovery.aws import OpenEndpoints
from simcloud_inference_router.discovery.endpoints import Found
from simcloud_inference_router.discovery.looking import Discoverer
from simcloud_inference_router.discovery.merging import merge
from simcloud_inference_router.discovery.metrics import DiscoveryCollector
from simcloud_inference_router.discovery.options import DiscoveryOptions
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
        region: AWS's, of targets and of a ``discovery`` that name none.
    """

    def __init__(
        self, router: Router, *, path: Path, read: CatalogReading, poll_s: float, region: str
    ) -> None:
        self.status = CatalogStatus(digest=read.digest, loaded_at_s=router.clock.time())
        self.discovery = DiscoveryStatus()
        self.reread = asyncio.Event()
        """Set whenever the file was read and is served."""
        self._router = router
        # What is served is these two, one merged into the other.
        self._written = read.taken()
        self._found = Found()
        self._path = path
        # What was read last, served or not.
        self._read = read
        self._poll_s = poll_s
        self._region = region
        self._reading = asyncio.Lock()
        self._woken = asyncio.Event()
        self._logged = ""
        # What the last look found, when that was new.
        self._unsteady = ""

    @property
    def served(self) -> Served:
        """The router's models."""
        return self._router.served

    @property
    def options(self) -> DiscoveryOptions | None:
        """How endpoints are looked for; None: they are not."""
        return self._written.discovery

    def join(self, found: Found) -> CatalogChange:
        """Serves found endpoints beside what is written, in place of those found before.

        Raises:
            PreconditionFailed: they can't be served; what was served is served on.
        """
        try:
            change = self._serve(self._written, found)
        except (SimcloudError, ValueError) as exc:
            raise PreconditionFailed(f"found endpoints can't be served: {exc}") from exc
        if change:
            _log.info(
                "found endpoints changed what is served",
                added=change.added,
                changed=change.changed,
                removed=change.removed,
            )
        return change

    async def reload(self) -> CatalogChange:
        """Reads the file now, whatever was read before, and has endpoints looked for.

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
                found = self._found if read.catalog.discovery is not None else Found()
                change = self._serve(read.catalog, found)
            except (SimcloudError, ValueError) as exc:
                raise self._rejected(f"catalogue {self._path} can't be served: {exc}") from exc
            self._accepted(change)
            self.reread.set()
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

    def _serve(self, written: Catalog, found: Found) -> CatalogChange:
        merged = merge(written, found.targets, region=self._region)
        change = self._router.served.replace(merged.catalog)
        self._written, self._found = written, found
        status = self.discovery
        status.enabled = written.discovery is not None
        if not status.enabled:
            status.problem = ""
        conflicts = (*found.problems, *merged.problems)
        if conflicts and conflicts != status.conflicts:
            _log.warning("tags of endpoints can't be followed", problems=conflicts)
        status.conflicts, status.targets = conflicts, merged.targets
        return change

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
    router: Router,
    *,
    path: Path,
    read: CatalogReading,
    poll_s: float,
    region: str,
    endpoints: OpenEndpoints,
    random: Random | None = None,
) -> AsyncIterator[CatalogReloader]:
    """Watches the catalogue's file within the block, and shows its state among the metrics.

    Where it asks for endpoints to be found, the first look has ended when the block begins; one
    that fails does not keep what is written from being served.

    Args:
        router: made of what was read.
        path: the catalogue's file.
        read: what it said then.
        poll_s: as for ``CatalogReloader``.
        region: likewise.
        endpoints: opens AWS's view of a region, where the catalogue's ``discovery`` looks.
        random: of the pauses between looks; one of its own by default.
    """
    reloader = CatalogReloader(router, path=path, read=read, poll_s=poll_s, region=region)
    if random is None:
        # Pauses need no secrecy.
        random = Random()  # noqa: S311
    discoverer = Discoverer(reloader, endpoints=endpoints, clock=router.clock, random=random)
    with (
        exported(CatalogCollector(reloader.status)),
        exported(DiscoveryCollector(reloader.discovery)),
    ):
        async with OneOperation() as tasks:
            watches = [
                tasks.create_task(reloader.watch(), name="catalogue"),
                tasks.create_task(discoverer.watch(), name="discovery"),
            ]
            try:
                await discoverer.begun.wait()
                yield reloader
            finally:
                for watch in watches:
                    watch.cancel()
