"""NVIDIA's own client, unmodified, against our router in front of the real model container."""

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


def test_a_unary_inference_echoes_the_id_and_gives_every_output(report: Any) -> None:
    assert report["unary"]["id"] == "unary-1"
    shapes = report["unary"]["shapes"]
    assert sorted(shapes) == ["boxes", "classes", "count", "scores"]
    assert shapes["count"] == [2]
    assert shapes["boxes"][0] == 2
    assert report["unary"]["one_output"] == {"count": [1]}


def test_asynchronous_inferences_come_back_each_to_its_request(report: Any) -> None:
    assert report["unary"]["async_ids"] == [f"async-{number}" for number in range(8)]


def test_errors_have_the_codes_that_triton_gives(report: Any) -> None:
    assert report["unary"]["unknown_model"][0] == "StatusCode.NOT_FOUND"
    assert report["unary"]["wrong_datatype"][0] == "StatusCode.INVALID_ARGUMENT"
    assert report["unary"]["unknown_output"][0] == "StatusCode.INVALID_ARGUMENT"
    assert report["unary"]["shared_memory"][0] == "StatusCode.UNIMPLEMENTED"


def test_a_stream_answers_in_order_and_an_error_leaves_it_open(report: Any) -> None:
    expected = ["error" if number == 5 else f"stream-{number}" for number in range(12)]
    assert report["stream"]["answers"] == expected
    assert "no-such-model" in report["stream"]["error"]


def test_the_final_response_is_marked_when_asked_for(report: Any) -> None:
    assert report["stream"]["final"] is True


def test_an_error_is_the_streams_status_when_asked_for(report: Any) -> None:
    status, message = report["grpc_errors"]
    assert status == "StatusCode.NOT_FOUND"
    assert "no-such-model" in message


def test_the_server_describes_itself_and_its_models(report: Any) -> None:
    described = report["described"]
    assert (described["live"], described["ready"], described["model_ready"]) == (True, True, True)
    assert described["unknown_ready"] is False
    assert described["server"]["name"] == "simcloud-inference-router"
    assert "statistics" in described["server"]["extensions"]
    assert described["inputs"] == ["image"]
    assert described["outputs"] == ["boxes", "scores", "classes", "count"]
    assert described["max_batch_size"] == 16
    (config_input,) = described["config_input"]
    assert (config_input["name"], config_input["data_type"]) == ("image", "TYPE_UINT8")
    assert config_input["dims"] == ["-1", "-1", "3"]
    assert ["nanodet-g", "READY"] in described["index"]


def test_the_statistics_are_those_of_what_was_sent(report: Any) -> None:
    statistics = report["described"]["statistics"]
    # 2 + 8 unary, 11 + 1 on streams; the first of them was a batch of two.
    assert statistics["execution_count"] == "22"
    assert statistics["inference_count"] == "23"
    assert int(statistics["inference_stats"]["success"]["ns"]) > 0
    assert statistics["inference_stats"]["fail"]["count"] == "2"
    sizes = {batch["batch_size"]: batch["compute_infer"] for batch in statistics["batch_stats"]}
    assert (sizes["1"]["count"], sizes["2"]["count"]) == ("21", "1")
