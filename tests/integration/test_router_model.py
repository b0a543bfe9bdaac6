from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

import cv2
import numpy as np
import pytest

from simcloud.client.router import Frame, Picture
from simcloud.errors import InvalidRequest, NotFound
from simcloud.oip.tensors import fill_request, new, output_arrays
from simcloud.rpc.status import client_errors
from support.model_server import ModelServer
from support.router import LOCAL_CATALOG, RunningRouter, running_router, settings_for

KEY, SECRET = "AKID", "secret"


@pytest.fixture(scope="module")
def model_server() -> Iterator[ModelServer]:
    """The real container, which demands valid signatures."""
    environment = {
        "SIGV4_ACCESS_KEY_ID": KEY,
        "SIGV4_SECRET_ACCESS_KEY": SECRET,
        "LOG_LEVEL": "warning",
    }
    with ModelServer(environment=environment) as server:
        yield server


@pytest.fixture
async def router(model_server: ModelServer) -> AsyncIterator[RunningRouter]:
    async with running_router(settings_for(LOCAL_CATALOG, model_server.url)) as running:
        yield running


def png(width: int, height: int, shade: int = 120) -> bytes:
    picture = np.full((height, width, 3), shade, np.uint8)
    picture[height // 4 : height // 2, width // 4 : width // 2] = (200, 30, 60)
    _, data = cv2.imencode(".png", picture)
    return bytes(data)


async def test_the_containers_tensors_come_back_through_the_open_inference_protocol(
    router: RunningRouter,
) -> None:
    request = new("ModelInferRequest")
    request.model_name, request.id = "nanodet-g", "42"
    fill_request(request, [("image", np.zeros((2, 48, 64, 3), np.uint8))])
    response = await router.oip.ModelInfer(request, timeout=30)
    arrays = output_arrays(response)
    assert (response.id, response.model_name, response.model_version) == ("42", "nanodet-g", "1")
    assert set(arrays) == {"boxes", "scores", "classes", "count"}
    assert arrays["boxes"].shape[0] == 2
    assert arrays["boxes"].shape[2] == 4
    assert arrays["count"].dtype == np.int64
    assert len(response.raw_output_contents) == 4


async def test_only_the_outputs_asked_for_come_and_in_that_order(router: RunningRouter) -> None:
    request = new("ModelInferRequest")
    request.model_name = "efficientnet-lite0"
    fill_request(request, [("image", np.zeros((1, 32, 32, 3), np.uint8))])
    for name in ("probabilities", "logits"):
        request.outputs.add(name=name)
    response = await router.oip.ModelInfer(request, timeout=30)
    assert [output.name for output in response.outputs] == ["probabilities", "logits"]
    arrays = output_arrays(response)
    assert arrays["probabilities"].shape == (1, 1000)
    assert float(arrays["probabilities"].sum()) == pytest.approx(1.0, abs=1e-3)


async def test_what_the_container_refuses_is_the_callers_error(router: RunningRouter) -> None:
    request = new("ModelInferRequest")
    request.model_name = "nanodet-g"
    fill_request(request, [("image", np.zeros((1, 0, 0, 3), np.uint8))])
    with pytest.raises(InvalidRequest, match="empty dimensions"), client_errors():
        await router.oip.ModelInfer(request, timeout=30)


async def test_pictures_are_answered_in_order_with_where_the_time_went(
    router: RunningRouter,
) -> None:
    async def frames() -> AsyncIterator[Frame]:
        for number in range(40):
            yield Frame(str(number), Picture("image/png", png(64 + number, 48)))

    answers = [answer async for answer in router.client.infer_frames("nanodet-g", frames())]
    assert [answer.id for answer in answers] == [str(number) for number in range(40)]
    for number, answer in enumerate(answers):
        assert answer.ok, answer.message
        assert answer.target == "nanodet-g/AllTraffic"
        assert 0 < answer.target_s <= answer.total_s
        document = json.loads(answer.body)
        assert document["image"] == {"width": 64 + number, "height": 48}
        assert isinstance(document["detections"], list)


async def test_parameters_of_the_stream_reach_the_model(router: RunningRouter) -> None:
    async def frames() -> AsyncIterator[Frame]:
        yield Frame("a", Picture("image/png", png(64, 48)))

    async def detections(threshold: str) -> int:
        stream = router.client.infer_frames(
            "nanodet-g", frames(), parameters={"score_threshold": threshold}
        )
        (answer,) = [answer async for answer in stream]
        assert answer.ok, answer.message
        return len(json.loads(answer.body)["detections"])

    assert await detections("0.99") < await detections("0.05")


async def test_a_picture_that_is_none_is_that_frames_error_alone(router: RunningRouter) -> None:
    async def frames() -> AsyncIterator[Frame]:
        yield Frame("bad", Picture("image/png", b"no picture"))
        yield Frame("good", Picture("image/png", png(32, 32)))

    bad, good = [answer async for answer in router.client.infer_frames("nanodet-g", frames())]
    assert (bad.code, bad.reason, bad.retryable) == (3, "INVALID_REQUEST", False)
    assert good.ok


async def test_the_catalogue_and_true_counts_are_listed(router: RunningRouter) -> None:
    async def frames() -> AsyncIterator[Frame]:
        yield Frame("good", Picture("image/png", png(32, 32)))
        yield Frame("bad", Picture("image/png", b"no picture"))

    _ = [answer async for answer in router.client.infer_frames("nanodet-g", frames())]
    models = {model.name: model for model in await router.client.list_models()}
    assert models["nanodet-g"].labels[0] == "person"
    assert len(models["efficientnet-lite0"].labels) == 1000
    assert models["nanodet-g"].targets[0].limit >= 8
    (counts,) = await router.client.statistics("nanodet-g")
    assert (counts.requests, counts.succeeded) == (2, 1)
    assert counts.failed == {"INVALID_REQUEST": 1}
    assert counts.target_s > 0
    with pytest.raises(NotFound):
        await router.client.statistics("cat")


async def test_a_wrong_secret_is_unauthenticated(model_server: ModelServer) -> None:
    settings = settings_for(
        LOCAL_CATALOG,
        model_server.url,
        sagemaker={"access_key_id": KEY, "secret_access_key": "other"},
    )

    async def frames() -> AsyncIterator[Frame]:
        yield Frame("a", Picture("image/png", png(32, 32)))

    async with running_router(settings) as running:
        (answer,) = [a async for a in running.client.infer_frames("nanodet-g", frames())]
    assert (answer.code, answer.reason) == (16, "UNAUTHENTICATED")
