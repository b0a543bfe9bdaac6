"""What many integration tests begin with: a run's place, and an endpoint that answers as told."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from simcloud.dataset.layout import RunLocation
from support.scripted_endpoint import ScriptedEndpoint, scripted_endpoint


@pytest.fixture
def location(bucket: str) -> RunLocation:
    """A run in a bucket of its own."""
    return RunLocation(bucket=bucket, prefix="sets", run="run")


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    """An endpoint that listens."""
    async with scripted_endpoint() as running:
        yield running
