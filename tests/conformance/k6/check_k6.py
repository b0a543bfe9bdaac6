"""k6, unmodified, against the router's process in front of the real model container.

Not among the tests of every run: its binary is 66 MB. ``make conformance`` names it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import pytest

from simcloud import RouterClient
from support.altering_proxy import Alter, altering_proxy
from support.certificates import make_certificates
from support.conformance import ROOT, Ended, client_program, ended
from support.model_server import ModelServer
from support.router_site import router_process

SCRIPT = Path(__file__).with_name("infer.js")
SHOWROOM = ROOT / "docs" / "images" / "showroom.jpg"
# Its own exit code for thresholds that were crossed.
CROSSED = 99
# Of the script, by the names of its ways.
ANSWERS = {"raw": 1, "typed": 1, "stream": 4, "frames": 12, "unordered": 12}
# What it asks once and is answered: raw and typed contents, and the frame behind a broken one.
ONCE = 3
# As little as it does: of the model that answers soonest.
ONE = {"MODEL": "efficientnet-lite0", "ITERATIONS": 1}


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the script."""

    ended: Ended
    metrics: dict[str, Any]
    """Its summary, by metric."""
    failed: set[str]
    """Names of the checks that failed, once or more often."""

    @property
    def answers(self) -> dict[str, float]:
        """Those that its checks found right, by way."""
        return {way: self.metrics[_answers(way)]["count"] for way in ANSWERS}

    def crossed(self, metric: str) -> bool:
        """Whether a threshold of a metric was."""
        return any(self.metrics[metric]["thresholds"].values())


@dataclass(frozen=True, slots=True)
class K6:
    """The program, and where its summaries and small pictures go."""

    binary: Path
    folder: Path

    async def run(self, address: str, settings: Mapping[str, object]) -> Run:
        """Runs the script with these settings of it."""
        picture, summary = self.folder / "picture.jpg", self.folder / "summary.json"
        summary.unlink(missing_ok=True)
        variables = {"ROUTER": address, "PICTURE": picture, **settings}
        run = await ended(
            *(self.binary, "run", "--no-usage-report", "--quiet", "--no-color"),
            *("--summary-export", summary, "--summary-mode", "compact"),
            *(part for name, value in variables.items() for part in ("-e", f"{name}={value}")),
            SCRIPT,
        )
        found = json.loads(summary.read_text())
        return Run(run, found["metrics"], _failed(found["root_group"]))


def _failed(group: dict[str, Any]) -> set[str]:
    """Those of a group of checks and of the groups in it; what is asked once has one of its own."""
    below = (_failed(each) for each in group["groups"].values())
    own = {check["name"] for check in group["checks"].values() if check["fails"]}
    return own.union(*below)


def _answers(way: str) -> str:
    return f"answers{{way:{way}}}"


@pytest.fixture(scope="module")
def k6(tmp_path_factory: pytest.TempPathFactory) -> K6:
    """In an environment of its own."""
    folder = tmp_path_factory.mktemp("k6")
    picture = cv2.imread(str(SHOWROOM))
    assert picture is not None
    cv2.imwrite(str(folder / "picture.jpg"), cv2.resize(picture, (160, 80)))
    return K6(client_program(SCRIPT.parent, "k6"), folder)


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    """The container."""
    with ModelServer(environment={"LOG_LEVEL": "warning"}) as server:
        yield server


@pytest.fixture(scope="module")
def router(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its window is smaller than what the script has to send on a stream."""
    folder = tmp_path_factory.mktemp("router")
    with router_process(folder, model, settings={"STREAM_WINDOW": "4"}) as address:
        yield address


@pytest.fixture(scope="module")
def guarded(
    model: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """One that asks for client certificates, and the folder of those that it takes."""
    folder = make_certificates(tmp_path_factory.mktemp("guarded"))
    tls = {"CERT": "server.pem", "KEY": "server.key", "CLIENT_CA": "ca.pem"}
    settings = {f"TLS__{name}": str(folder / file) for name, file in tls.items()}
    with router_process(folder, model, settings=settings) as address:
        yield address.replace("127.0.0.1", "localhost"), folder


async def _counts(address: str, name: str) -> Counter[str]:
    """Of one model: what succeeded, and what failed by reason."""
    async with RouterClient.connect(address) as client:
        (counts,) = await client.statistics(name)
    return Counter({"succeeded": counts.succeeded, **counts.failed})


@pytest.mark.parametrize(
    ("model_name", "iterations", "settings"),
    [
        pytest.param("efficientnet-lite0", 4, {}, id="contracts by reflection"),
        pytest.param("nanodet-g", 1, {"PROTO": ROOT / "proto"}, id="contracts from files"),
    ],
)
async def test_every_request_and_frame_is_answered_right_and_the_router_counts_the_same(
    k6: K6, router: str, model_name: str, iterations: int, settings: dict[str, object]
) -> None:
    before = await _counts(router, model_name)
    run = await k6.run(router, {"MODEL": model_name, "ITERATIONS": iterations, **settings})
    assert run.ended.code == 0, run.ended.printed
    assert run.answers == {way: iterations * each for way, each in ANSWERS.items()}
    assert run.failed == set()
    assert run.metrics["iterations"]["count"] == iterations
    # The broken frame is the one failure, and the unknown model is none of a model's.
    answered = iterations * sum(ANSWERS.values()) + ONCE
    counted = await _counts(router, model_name) - before
    assert counted == {"succeeded": answered, "INVALID_REQUEST": 1}


async def test_it_is_let_in_by_its_certificate(k6: K6, guarded: tuple[str, Path]) -> None:
    address, pems = guarded
    files = {"TLS_CA": "ca.pem", "TLS_CERT": "client.pem", "TLS_KEY": "client.key"}
    given = {name: pems / file for name, file in files.items()}
    run = await k6.run(address, {**ONE, **given})
    assert run.ended.code == 0, run.ended.printed
    assert run.answers == ANSWERS


async def test_a_model_that_is_not_there_fails_every_count(k6: K6, router: str) -> None:
    run = await k6.run(router, {**ONE, "MODEL": "no-such-model"})
    assert run.ended.code == CROSSED, run.ended.printed
    assert run.answers == dict.fromkeys(ANSWERS, 0)
    assert {f"{way}: ends with OK" for way in ("frames", "unordered frames")} <= run.failed
    assert {"ModelReady: true", "raw: OK", "typed: OK", "stream: no error within it"} <= run.failed


async def test_a_router_that_is_not_there_fails_though_no_check_was_made(k6: K6) -> None:
    # Port 1 is reserved (tcpmux, RFC 1078) and served by nothing.
    run = await k6.run("127.0.0.1:1", ONE)
    assert run.ended.code != 0
    assert "connection refused" in run.ended.err
    assert run.metrics["checks"]["passes"] == run.metrics["checks"]["fails"] == 0
    assert all(run.crossed(_answers(way)) for way in ANSWERS)


def _lost(method: str, message: bytes) -> list[bytes]:
    return [] if b"stream-0-1" in message else [message]


def _twice(method: str, message: bytes) -> list[bytes]:
    return [message, message] if b"frames-0-11" in message else [message]


def _anothers(method: str, message: bytes) -> list[bytes]:
    return [message.replace(b"raw-0", b"raw-1")]


@pytest.mark.parametrize(
    ("way", "alter", "failed"),
    [
        pytest.param(
            "stream",
            _lost,
            {"stream: as many answers as requests", "stream: in order, each with its outputs"},
            id="one that is lost",
        ),
        pytest.param(
            "frames",
            _twice,
            {"frames: as many answers as frames", "frames: each of them once"},
            id="one that comes twice",
        ),
        pytest.param(
            "raw", _anothers, {"raw: its id and its outputs"}, id="one to another request"
        ),
    ],
)
async def test_an_answer_that_is_not_right_fails_the_run(
    k6: K6, router: str, way: str, alter: Alter, failed: set[str]
) -> None:
    async with altering_proxy(router, alter) as address:
        run = await k6.run(address, {**ONE, "WAYS": way})
    assert run.ended.code == CROSSED, run.ended.printed
    assert run.failed == failed
    assert run.crossed("checks")
    assert run.crossed(_answers(way))
