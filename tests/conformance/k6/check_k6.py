"""k6, unmodified, against our router in front of the real model container.

No package registry has k6; this runs where someone has put it on the PATH (0.49 or later), and is
skipped elsewhere. ``make conformance`` names it.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from simcloud_inference_router.statistics import ModelCounts
from support.conformance import ROOT, output_of
from support.model_server import ModelServer
from support.router import LOCAL_CATALOG, running_router, settings_for

SCRIPT = Path(__file__).with_name("infer.js")
K6 = shutil.which("k6")
ITERATIONS = 40


@pytest.mark.skipif(K6 is None, reason="k6 is not on the PATH")
def test_k6_calls_and_streams_and_the_router_counts_the_same() -> None:
    with ModelServer(environment={"LOG_LEVEL": "warning"}) as server:
        counts = asyncio.run(_counts(server.url))
    # One unary call and two on a stream, each time.
    assert counts.succeeded == 3 * ITERATIONS
    assert counts.failed == {}


async def _counts(url: str) -> ModelCounts:
    """What the router counted; k6 itself ends badly when one of its checks fails."""
    async with running_router(settings_for(LOCAL_CATALOG, url)) as router:
        assert K6 is not None
        await output_of(
            *(K6, "run", "--no-usage-report", "--quiet", SCRIPT),
            *("-e", f"ROUTER={router.address}", "-e", f"PROTO={ROOT / 'proto'}"),
            *("-e", f"ITERATIONS={ITERATIONS}"),
        )
        return router.router.models["nanodet-g"].counts
