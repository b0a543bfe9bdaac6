"""NVIDIA's perf_analyzer, unmodified, against our router in front of the real model container.

Not among the tests of every run: it measures for seconds, and wants a library of the system
(Debian: libb64-0d). ``make conformance`` names it.
"""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.conformance import client_program, output_of
from support.model_server import ModelServer
from support.router import LOCAL_CATALOG, running_router, settings_for

REQUESTS = 24


@dataclass(frozen=True, slots=True)
class Run:
    """One run of it."""

    printed: str
    rows: list[dict[str, str]]
    """Its report, a row for each load."""
    succeeded: int
    """Requests that the router answered meanwhile."""
    failed: dict[str, int]


@pytest.fixture(scope="module")
def perf_analyzer() -> Path:
    """The binary, in an environment of its own."""
    return client_program(Path(__file__).parent, "perf_analyzer")


@pytest.fixture(scope="module")
def runs(perf_analyzer: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """What it found, by the way in which it asked."""
    folder = tmp_path_factory.mktemp("perf_analyzer")
    with ModelServer(environment={"LOG_LEVEL": "warning"}) as server:
        return asyncio.run(_runs(perf_analyzer, server.url, folder))


async def _runs(binary: Path, url: str, folder: Path) -> dict[str, Run]:
    ways: dict[str, Sequence[str]] = {
        "unary": (),
        "batches": ("-b", "2"),
        "streaming": ("--streaming", "--async"),
    }
    found = {}
    # Linked with CUDA's runtime, which needs no GPU to be there.
    (cuda,) = binary.parents[1].glob("lib/python3*/site-packages/nvidia/cuda_runtime/lib")
    async with running_router(settings_for(LOCAL_CATALOG, url)) as router:
        counts = router.router.models["nanodet-g"].counts
        for way, more in ways.items():
            before, report = counts.succeeded, folder / f"{way}.csv"
            printed = await output_of(
                *(binary, "-m", "nanodet-g", "-u", router.address, "-i", "grpc"),
                *("--shape", "image:24,32,3", "--concurrency-range", "2"),
                *("--request-count", f"{REQUESTS}", "-f", report),
                *more,
                LD_LIBRARY_PATH=str(cuda),
            )
            rows = list(csv.DictReader(report.read_text().splitlines()))
            found[way] = Run(printed, rows, counts.succeeded - before, dict(counts.failed))
    return found


@pytest.mark.parametrize("way", ["unary", "batches", "streaming"])
def test_it_measures_what_the_router_has_answered(runs: dict[str, Run], way: str) -> None:
    run = runs[way]
    (row,) = run.rows
    assert row["Concurrency"] == "2"
    assert float(row["Inferences/Second"]) > 0
    assert run.succeeded >= REQUESTS
    assert run.failed == {}


def test_it_believes_the_statistics_of_the_router(runs: dict[str, Run]) -> None:
    printed = runs["unary"].printed
    assert "Server:" in printed
    assert f"Inference count: {REQUESTS}" in printed
