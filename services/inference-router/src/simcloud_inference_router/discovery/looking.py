"""Tagged endpoints looked for again and again; what is found is served beside the catalogue."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Final, Protocol

from simcloud.clock import Clock
from simcloud.concurrency.retry import Backoff
from simcloud.errors import Overloaded, PermissionDenied, SimcloudError
from simcloud.telemetry.logging import get_logger
from simcloud_inference_router.catalog_status import (
    DENIED,
    FAILED,
    FOUND,
    THROTTLED,
    DiscoveryStatus,
)
from simcloud_inference_router.discovery.aws import EndpointSource, OpenEndpoints
from simcloud_inference_router.discovery.endpoints import Found, FoundEndpoints
from simcloud_inference_router.discovery.options import DiscoveryOptions

LOOK_S: Final = 30.0
"""Longest time of a look, all its pages together."""
LONGEST_PAUSE_S: Final = 900.0
"""Longest pause after failures, unless ``every_s`` is longer."""
JITTER: Final = 0.1
"""Share by which the time between looks varies: replicas that were started together spread out."""

_log = get_logger(__name__)


class Joins(Protocol):
    """What serves found endpoints beside the catalogue."""

    discovery: DiscoveryStatus
    reread: asyncio.Event

    @property
    def options(self) -> DiscoveryOptions | None:
        """What the catalogue that is served asks for."""

    def join(self, found: Found) -> object:
        """Serves them from now on.

        Raises:
            PreconditionFailed: they can't be served; what was served is served on.
        """


class Discoverer:
    """Looks for tagged endpoints while the catalogue asks for it.

    A look that fails changes nothing: what was found before is served, and the next look comes
    later and later. The error is logged once until another one, or none, takes its place.

    Args:
        catalog: what serves them.
        endpoints: opens AWS's view of a region.
        clock: the process's.
        random: of pauses.
    """

    def __init__(
        self, catalog: Joins, *, endpoints: OpenEndpoints, clock: Clock, random: Random
    ) -> None:
        self.begun = asyncio.Event()
        """Set after the first look, or when there is none to wait for."""
        self._catalog = catalog
        self._endpoints = endpoints
        self._clock = clock
        self._random = random
        self._known = FoundEndpoints()
        self._failures = 0

    async def watch(self) -> None:
        """Looks when it is time and whenever the catalogue was read; until cancelled."""
        while True:
            options = self._catalog.options
            if options is None:
                self._known, self._failures = FoundEndpoints(), 0
                self.begun.set()
                await self._pause(None)
                continue
            try:
                async with self._endpoints(options.region) as source:
                    await self._look_in(source, options.region)
            except SimcloudError as exc:
                await self._failed(exc, options)
            except Exception as exc:
                # Whatever it is, the requests that are served have nothing to do with it.
                _log.exception("looking for endpoints failed; those found before are served")
                await self._failed(exc, options)

    async def _look_in(self, source: EndpointSource, region: str) -> None:
        """Looks in one region for as long as it is the one that is asked for."""
        while (options := self._catalog.options) is not None and options.region == region:
            try:
                async with asyncio.timeout(LOOK_S):
                    seen = await source.tagged(options.tags)
            except (SimcloudError, TimeoutError) as exc:
                await self._failed(exc, options)
                continue
            if self._catalog.options != options:
                # Another catalogue meanwhile: these are the answer to its predecessor's question.
                continue
            found = self._known.update(seen, options=options, now_s=self._clock.monotonic())
            self._catalog.join(found)
            self._succeeded()
            await self._pause(options.every_s * self._random.uniform(1 - JITTER, 1 + JITTER))

    def _succeeded(self) -> None:
        status = self._catalog.discovery
        if status.problem:
            _log.info("looking for endpoints works again")
        status.problem, self._failures = "", 0
        status.looked_at_s = self._clock.time()
        status.looks[FOUND] += 1
        self.begun.set()

    async def _failed(self, error: Exception, options: DiscoveryOptions) -> None:
        status = self._catalog.discovery
        status.looks[_outcome(error)] += 1
        problem = str(error) or f"AWS gave no answer within {LOOK_S:g} s"
        if problem != status.problem:
            _log.error("looking for endpoints failed; those found before are served", why=problem)
        status.problem = problem
        longest_s = max(LONGEST_PAUSE_S, options.every_s)
        backoff = Backoff(base_s=options.every_s, cap_s=longest_s)
        pause_s = backoff.delay_s(self._failures, self._random, retry_after_s=options.every_s)
        self._failures += 1
        self.begun.set()
        await self._pause(pause_s)

    async def _pause(self, seconds: float | None) -> None:
        """Until the time is over, or the catalogue was read; None: until that alone."""
        try:
            async with asyncio.timeout(seconds):
                await self._catalog.reread.wait()
        except TimeoutError:
            return
        self._catalog.reread.clear()


def _outcome(error: Exception) -> str:
    if isinstance(error, PermissionDenied):
        return DENIED
    return THROTTLED if isinstance(error, Overloaded) else FAILED
