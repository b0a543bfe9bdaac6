"""KServe's own client, unmodified, against our router in front of the real model container.

Not among the tests of every run: its environment is 67 packages. ``make conformance`` names it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from support.conformance import report_of
from support.model_server import ModelServer
from support.router import LOCAL_CATALOG, running_router, settings_for

CLIENT = Path(__file__).with_name("client.py")


@pytest.fixture(scope="module")
def report() -> Any:
    """What the client saw."""
    with ModelServer(environment={"LOG_LEVEL": "warning"}) as server:
        return asyncio.run(_report(server.url))


async def _report(url: str) -> Any:
    async with running_router(settings_for(LOCAL_CATALOG, url)) as router:
        return await report_of(CLIENT, router.address)


def test_the_server_and_its_models_are_alive_and_ready(report: Any) -> None:
    assert (report["live"], report["ready"], report["model_ready"]) == (True, True, True)
    assert report["unknown_ready"] is False


def test_raw_and_typed_contents_give_the_same_answer_under_their_ids(report: Any) -> None:
    assert report["ids"] == ["raw", "typed"]
    assert report["equal"] is True
    assert sorted(report["shapes"]) == ["boxes", "classes", "count", "scores"]


def test_an_unknown_model_is_not_found(report: Any) -> None:
    assert report["unknown"] == "StatusCode.NOT_FOUND"
