"""When runs are swept: again and again, those served and those that dead processes left."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable

from simcloud.concurrency import BackgroundService
from simcloud.dataset.layout import RunLocation
from simcloud.errors import SimcloudError
from simcloud.telemetry.logging import get_logger
from simcloud_uploader.sweeper import MAX_RUNS, Sweeper

_log = get_logger(__name__)


class PeriodicSweep(BackgroundService):
    """Sweeps runs every ``interval_s`` seconds: those served, and what dead processes left."""

    def __init__(
        self, sweeper: Sweeper, *, interval_s: float, prefixes: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Makes it; to be entered as a context manager.

        Args:
            sweeper: what sweeps one run.
            interval_s: between two sweeps, seconds.
            prefixes: bucket and prefix of runs that are swept though they were never served.
        """
        super().__init__()
        self._sweeper = sweeper
        self._interval_s = interval_s
        self._prefixes = tuple(prefixes)
        # Bounded: the run served longest ago is forgotten first; another replica, the lifecycle
        # rule or its next request remembers it.
        self._runs: OrderedDict[RunLocation, None] = OrderedDict()

    def remember(self, location: RunLocation) -> None:
        """A run was served."""
        self._runs[location] = None
        self._runs.move_to_end(location)
        while len(self._runs) > MAX_RUNS:
            self._runs.popitem(last=False)

    async def run(self) -> None:
        """Sweeps until it is stopped."""
        self.started()
        while True:
            await asyncio.sleep(self._interval_s)
            await self.sweep_all(await self.due())

    async def due(self) -> list[RunLocation]:
        """The runs served, and those with open uploads below the prefixes: of dead processes."""
        runs = dict(self._runs)
        prefixes = dict.fromkeys([*self._prefixes, *((run.bucket, run.prefix) for run in runs)])
        for bucket, prefix in prefixes:
            try:
                found = await self._sweeper.runs_with_uploads(bucket, prefix)
            except SimcloudError as error:
                _log.warning("listing of uploads failed", bucket=bucket, error=error.message)
                continue
            runs |= dict.fromkeys(found)
        return list(runs)

    async def sweep_all(self, locations: Iterable[RunLocation]) -> None:
        """Sweeps these runs; a failure of one is logged and the next is tried."""
        for location in locations:
            try:
                swept = await self._sweeper.sweep(location)
                _log.info("swept", run=str(location), uploads=swept.uploads, epochs=swept.epochs)
            except SimcloudError as error:
                _log.warning("sweep failed", run=str(location), error=error.message)
