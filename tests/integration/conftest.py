"""What many integration tests begin with: a run's place, an endpoint, a client of endpoints."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest
import structlog

from simcloud.dataset.layout import RunLocation
from simcloud_inference_router.targets.target_pool import TargetPool, open_target_pool
from support.scripted_endpoint import ScriptedEndpoint, scripted_endpoint

if TYPE_CHECKING:
    from support.aws_stubs import PaperAws


@pytest.fixture(autouse=True)
def _structlog_is_left_unconfigured() -> Iterator[None]:
    # What captures logs configures structlog, and leaves it so: lines go to its standard output.
    configured = structlog.is_configured()
    yield
    if not configured:
        structlog.reset_defaults()


@pytest.fixture
def location(bucket: str) -> RunLocation:
    """A run in a bucket of its own."""
    return RunLocation(bucket=bucket, prefix="sets", run="run")


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    """An endpoint that listens."""
    async with scripted_endpoint() as running:
        yield running


@pytest.fixture
async def pool() -> AsyncIterator[TargetPool]:
    """The router's HTTP client; it holds no connection in the end."""
    async with open_target_pool(
        connect_timeout_s=5, keepalive_s=30, max_answer_bytes=100_000
    ) as opened:
        yield opened
    assert opened.connections == 0


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Iterator[PaperAws]:
    """AWS on paper, for the CLI in this process."""
    # boto3 is imported by those who ask for it alone.
    from support.aws_stubs import paper_aws

    with paper_aws(monkeypatch) as aws:
        yield aws
