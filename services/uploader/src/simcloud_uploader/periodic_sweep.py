"""When runs are swept: again and again, those served and those that dead processes left."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable

from simcloud.concurrency import BackgroundService
from simcloud.dataset.layout import RunLocation
from simcloud.errors import SimcloudError
from simcloud.telemetry.logging import get_logger
from simcloud_uploader.sweeper import MAX_RUNS, Sweeper, Swept

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
        # Bounded: the run served longest ago is forgotten first; another replica or its next
        # request remembers it, and of its uploads a listing and the lifecycle rule.
        self._runs: OrderedDict[RunLocation, None] = OrderedDict()
        self._looked_through: set[tuple[str, str]] = set()
        """Prefixes below which ``look_for_epochs`` has looked at every run."""

    def remember(self, location: RunLocation) -> None:
        """A run was served, or published."""
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
            await self.look_for_epochs()

    async def due(self) -> list[RunLocation]:
        """The runs served, and those with open uploads below the prefixes: of dead processes."""
        runs = dict(self._runs)
        for bucket, prefix in self._known_prefixes():
            try:
                found = await self._sweeper.runs_with_uploads(bucket, prefix)
            except SimcloudError as error:
                _log.warning("listing of uploads failed", bucket=bucket, error=error.message)
                continue
            runs |= dict.fromkeys(found)
        return list(runs)

    async def look_for_epochs(self) -> None:
        """Sweeps the runs that have epoch objects, whose owners may be dead.

        An upload is found by one LIST of a prefix, an epoch object by one of each run. So a process
        looks once, and remembers the runs of which something is left. Of a process that dies after
        that its successor finds what is left, at its own first look.
        """
        known = self._known_prefixes()
        self._looked_through.intersection_update(known)  # no more of them than of what is served
        for bucket, prefix in known:
            if (bucket, prefix) not in self._looked_through and await self._look(bucket, prefix):
                self._looked_through.add((bucket, prefix))

    async def _look(self, bucket: str, prefix: str) -> bool:
        """Whether every run below a prefix could be looked at."""
        all_seen = True
        try:
            async for location in self._sweeper.runs(bucket, prefix):
                all_seen &= await self._look_at(location)
        except SimcloudError as error:
            _log.warning("listing of runs failed", bucket=bucket, error=error.message)
            return False
        return all_seen

    async def _look_at(self, location: RunLocation) -> bool:
        try:
            if location in self._runs or not await self._sweeper.has_epochs(location):
                return True
        except SimcloudError as error:
            _log.warning("listing of epochs failed", run=str(location), error=error.message)
            return False
        swept = await self._swept(location)
        if (swept is None or swept.left) and len(self._runs) < MAX_RUNS:
            self._runs[location] = None
            # The first to be forgotten: what is served comes before what was found.
            self._runs.move_to_end(location, last=False)
        return True

    def _known_prefixes(self) -> list[tuple[str, str]]:
        served = ((run.bucket, run.prefix) for run in self._runs)
        return list(dict.fromkeys([*self._prefixes, *served]))

    async def sweep_all(self, locations: Iterable[RunLocation]) -> None:
        """Sweeps these runs; a failure of one is logged and the next is tried."""
        for location in locations:
            await self._swept(location)

    async def _swept(self, location: RunLocation) -> Swept | None:
        try:
            swept = await self._sweeper.sweep(location)
        except SimcloudError as error:
            _log.warning("sweep failed", run=str(location), error=error.message)
            return None
        _log.info("swept", run=str(location), uploads=swept.uploads, epochs=swept.epochs)
        return swept
