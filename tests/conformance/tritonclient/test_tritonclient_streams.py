"""NVIDIA's own client, unmodified: sequences, several answers, classes, and its asyncio form."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.conformance import report_of
from support.router import model, running_router, settings_for, write_catalog
from support.scripted_endpoint import Invocation, Reply, scripted_endpoint
from support.streaming_endpoint import part, streaming_endpoint

CLIENT = Path(__file__).with_name("client_streams.py")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the client saw."""
    return asyncio.run(_report(tmp_path_factory.mktemp("catalog")))


class Stateful:
    """A model that makes a session for who asks for one."""

    def __init__(self) -> None:
        self.sessions = 0

    def respond(self, seen: Invocation) -> Reply:
        rows = json.loads(seen.body)["instances"]
        headers = {"content-type": "application/json"}
        if {name.lower(): value for name, value in seen.headers.items()}.get(
            "x-amzn-sagemaker-session-id"
        ) == "NEW_SESSION":
            self.sessions += 1
            headers["x-amzn-sagemaker-new-session-id"] = f"s-{self.sessions}; Expires=later"
        return Reply(200, json.dumps({"predictions": rows}).encode(), headers)


async def _report(folder: Path) -> Any:
    async def body(_: Invocation) -> AsyncIterator[bytes]:
        for text in (b"one", b"two", b"three"):
            yield part(text)

    async with scripted_endpoint() as talks, streaming_endpoint() as parts:
        talks.respond = Stateful().respond
        parts.body = body
        sagemaker = {"kind": "sagemaker", "endpoint": "talks", "url": talks.url, "sessions": True}
        stream = {"kind": "sagemaker_stream", "endpoint": "parts", "url": parts.url}
        text = {"datatype": "BYTES", "shape": [1]}
        catalog = write_catalog(
            folder,
            model("talks", tensor_codec="instances_json", targets=[{"name": "talks", **sagemaker}]),
            model(
                "parts",
                tensor_codec="bytes",
                max_batch_size=0,
                decoupled=True,
                inputs=[{"name": "prompt", **text}],
                outputs=[{"name": "text", **text}],
                targets=[{"name": "parts", **stream}],
            ),
        )
        async with running_router(settings_for(catalog, "")) as router:
            return await report_of(CLIENT, router.address)


def test_sequences_are_sessions_and_each_answer_comes_in_its_turn(report: Any) -> None:
    found = report["sequences"]
    assert found["ids"] == ["11-0", "12-0", "11-1", "12-1", "11-2", "12-2"]
    assert sorted(found["sessions"]) == ["s-1", "s-2"]
    (error,) = found["errors"]
    assert "sequence_start" in error


def test_a_model_that_answers_several_times_says_which_answer_is_the_last(report: Any) -> None:
    found = report["decoupled"]
    assert found["config"] == {"decoupled": True}
    assert found["texts"] == ["one", "two", "three"]
    assert found["final"] == [False, False, False, True]
    assert found["outputs"] == [1, 1, 1, 0]


def test_classes_come_with_their_labels(report: Any) -> None:
    assert report["classes"] == ["4.000000:1:dog", "3.000000:3"]


def test_the_extensions_are_those_that_are_there(report: Any) -> None:
    assert report["extensions"] == [
        *("classification", "model_configuration", "parameters", "sequence", "statistics")
    ]


def test_the_asyncio_client_sees_the_same(report: Any) -> None:
    found = report["asynchronous"]
    assert found["live"] is True
    assert found["ids"] == [f"a-{number}" for number in range(8)]
    assert found["streamed"] == ["s-0", "s-1", "error", "s-3", "s-4", "s-5"]
