"""The model container as SageMaker and its clients see it: a process, HTTP, boto3."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from botocore.exceptions import ClientError

from simcloud_model_container.catalogue import PACKAGED_WEIGHTS, read_catalogue
from support.model_requests import BINARY, JPEG, PIXELS, PNG, invoke, post, tensor_body, variations
from support.model_server import ModelServer


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture(scope="module")
def client(server: ModelServer) -> Any:
    return server.runtime_client()


def words(client: Any, endpoint: str, body: bytes, content_type: str, **more: str) -> Any:
    return json.loads(invoke(client, endpoint, body, content_type, **more)["Body"].read())


def read_tensors(answer: Any) -> dict[str, npt.NDArray[Any]]:
    body = answer["Body"].read()
    size = int(answer["ContentType"].partition("json-header-size=")[2])
    offset, tensors = size, {}
    dtypes = {"FP32": "<f4", "INT64": "<i8"}
    for entry in json.loads(body[:size])["outputs"]:
        length = entry["parameters"]["binary_data_size"]
        data = np.frombuffer(body[offset : offset + length], dtypes[entry["datatype"]])
        tensors[entry["name"]] = data.reshape(entry["shape"])
        offset += length
    assert offset == len(body)
    return tensors


def tensors_of(
    client: Any,
    endpoint: str,
    name: str,
    values: npt.NDArray[Any],
    parameters: dict[str, object] | None = None,
) -> dict[str, npt.NDArray[Any]]:
    content_type, body = tensor_body(name, values, parameters)
    return read_tensors(invoke(client, endpoint, body, content_type))


def test_ping_is_empty_and_200_when_warm(server: ModelServer) -> None:
    with urllib.request.urlopen(f"{server.url}/ping") as answer:
        assert (answer.status, answer.read()) == (200, b"")
    assert server.port_file.read_text() == f"{server.port}\n"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(JPEG, "image/jpeg"), (JPEG, "application/x-image"), (PNG, "image/png")],
)
def test_boto3_gets_the_furniture_of_the_picture(
    client: Any, body: bytes, content_type: str
) -> None:
    answer = invoke(client, "nanodet-g", body, content_type)
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["ContentType"] == "application/json"
    document = json.loads(answer["Body"].read())
    assert document["model"] == "nanodet-g"
    assert document["image"] == {"width": 480, "height": 360}
    detections = document["detections"]
    confident = [d["label"] for d in detections if d["score"] > 0.5]
    assert confident.count("teddy bear") == 2
    assert {"couch", "chair"} <= set(confident)
    couch = next(d for d in detections if d["label"] == "couch")
    # The couch is left of the middle and behind: measured in the picture by eye, to 15 px.
    assert couch["box_xyxy_px"] == pytest.approx([119, 115, 304, 191], abs=15)
    scores = [d["score"] for d in detections]
    assert scores == sorted(scores, reverse=True)
    assert 0.05 <= scores[-1] < 0.2
    assert len(detections) <= 100


def test_boto3_gets_the_classes_of_the_picture(client: Any) -> None:
    document = words(client, "efficientnet-lite0", JPEG, "image/jpeg")
    (best, *others) = document["classifications"]
    assert best["label"] == "studio couch, day bed"
    assert best["class_id"] == 831
    assert len(others) == 4
    ten = words(client, "efficientnet-lite0", JPEG, "image/jpeg", CustomAttributes="top_k=10")
    assert len(ten["classifications"]) == 10


def test_parameters_come_by_custom_attributes(client: Any) -> None:
    attributes = "trace-id=7; score_threshold=0.5; max_detections=3"
    document = words(client, "nanodet-g", JPEG, "image/jpeg", CustomAttributes=attributes)
    assert len(document["detections"]) == 3
    assert all(d["score"] >= 0.5 for d in document["detections"])


def test_tensors_say_the_same_as_words(client: Any) -> None:
    detections = words(client, "nanodet-g", JPEG, "image/jpeg")["detections"]
    of_tensor = tensors_of(client, "nanodet-g", "image", PIXELS[None])
    of_picture = read_tensors(invoke(client, "nanodet-g", JPEG, "image/jpeg", Accept=BINARY))
    count = len(detections)
    for tensors in (of_tensor, of_picture):
        assert tensors["count"].tolist() == [count]
        assert tensors["boxes"].shape == (1, 100, 4)
        np.testing.assert_allclose(
            tensors["boxes"][0, :count], [d["box_xyxy_px"] for d in detections], atol=1e-3
        )
        np.testing.assert_allclose(
            tensors["scores"][0, :count], [d["score"] for d in detections], atol=1e-6
        )
        assert tensors["classes"][0, :count].tolist() == [d["class_id"] for d in detections]
        assert (tensors["classes"][0, count:] == -1).all()


def test_outputs_have_the_described_names_types_and_shapes(client: Any) -> None:
    for name, model in read_catalogue(PACKAGED_WEIGHTS).items():
        tensors = tensors_of(client, name, "image", variations(2))
        assert list(tensors) == [output.name for output in model.outputs]
        for output in model.outputs:
            assert tensors[output.name].dtype == {"FP32": "<f4", "INT64": "<i8"}[output.datatype]
            for found, described in zip(tensors[output.name].shape, output.shape, strict=True):
                assert described in {-1, found}


@pytest.mark.parametrize("endpoint", ["nanodet-g", "efficientnet-lite0"])
def test_a_batch_answers_as_its_pictures_alone_do(client: Any, endpoint: str) -> None:
    pictures = variations(6)
    batch = tensors_of(client, endpoint, "image", pictures)
    for i, picture in enumerate(pictures):
        alone = tensors_of(client, endpoint, "image", picture[None])
        for name, values in alone.items():
            np.testing.assert_allclose(batch[name][i], values[0], atol=1e-4, rtol=1e-5)


def test_requests_that_share_a_batch_answer_as_alone(client: Any) -> None:
    pictures = [bytes(cv2.imencode(".png", p[:, :, ::-1])[1]) for p in variations(8)]
    alone = [words(client, "nanodet-g", picture, "image/png") for picture in pictures]
    # The first waits for the seven others, however late they come.
    settings = {"MAX_BATCH": "8", "MAX_WAIT_MS": "60000", "ENDPOINTS": "e=nanodet-g"}
    with ModelServer(environment=settings) as server, ThreadPoolExecutor(8) as threads:
        sharing = server.runtime_client()
        together = list(threads.map(lambda p: words(sharing, "e", p, "image/png"), pictures))
        count, images = (
            server.metric(f'simcloud_model_batch_images_{kind}{{model="nanodet-g"}}')
            for kind in ("count", "sum")
        )
    assert (count, images) == (1, 8)
    for one, other in zip(alone, together, strict=True):
        assert [d["label"] for d in one["detections"]] == [d["label"] for d in other["detections"]]
        np.testing.assert_allclose(
            [d["box_xyxy_px"] for d in one["detections"]],
            [d["box_xyxy_px"] for d in other["detections"]],
            atol=1e-3,
        )


def test_the_network_s_own_input_is_taken(client: Any) -> None:
    crop = cv2.resize(PIXELS[22:338, 82:398], (224, 224), interpolation=cv2.INTER_AREA)
    prepared = ((crop.astype(np.float32) - 127) / 128).transpose(2, 0, 1)[None]
    tensors = tensors_of(client, "efficientnet-lite0", "input", prepared)
    picture = tensors_of(client, "efficientnet-lite0", "image", PIXELS[None])
    assert tensors["logits"].argmax() == picture["logits"].argmax()
    np.testing.assert_allclose(tensors["probabilities"].sum(axis=1), 1, rtol=1e-5)


def test_json_tensors_come_back_as_json(client: Any) -> None:
    small = PIXELS[::12, ::12]
    document = {
        "id": "j",
        "inputs": [
            {
                "name": "image",
                "datatype": "UINT8",
                "shape": [1, *small.shape],
                "data": small.tolist(),
            }
        ],
        "outputs": [{"name": "count"}, {"name": "scores"}],
        "parameters": {"max_detections": 4},
    }
    answer = words(client, "nanodet-g", json.dumps(document).encode(), "application/json")
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("j", "nanodet-g", "1")
    assert [(o["name"], o["shape"]) for o in answer["outputs"]] == [
        ("count", [1]),
        ("scores", [1, 4]),
    ]
    assert len(answer["outputs"][1]["data"]) == 4


def bad_tensor(name: str, values: npt.NDArray[Any], **parameters: object) -> tuple[bytes, str]:
    content_type, body = tensor_body(name, values, parameters)
    return body, content_type


BLACK = np.zeros((1, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("body", "content_type", "status", "problem"),
    [
        (b"a,b", "text/csv", 415, "expected one of image/jpeg"),
        (b"", "image/jpeg", 400, "neither JPEG nor PNG"),
        (JPEG[:-100], "image/jpeg", 400, "truncated"),
        (PNG, "image/jpeg", 400, "the body is image/png"),
        (b"{}", "application/json", 400, "exactly one input"),
        (b"{}", f"{BINARY};json-header-size=9", 400, "more than the body's 2 bytes"),
        (b"{}", BINARY, 400, "json-header-size=N"),
        (*bad_tensor("picture", BLACK), 400, "there is no input picture"),
        (*bad_tensor("image", BLACK[0]), 400, "expected UINT8 [-1, -1, -1, 3]"),
        (*bad_tensor("image", BLACK[:0]), 400, "without empty dimensions"),
        (*bad_tensor("image", BLACK.astype(np.float32)), 400, "found float32"),
        (*bad_tensor("input", np.zeros((1, 3, 9, 9), np.float32)), 400, "[-1, 3, 416, 416]"),
        (*bad_tensor("image", np.repeat(BLACK, 17, 0)), 400, "at most 16"),
        (*bad_tensor("image", BLACK, score_threshold=2), 400, "score_threshold"),
    ],
)
def test_a_bad_request_is_refused_with_its_reason(
    server: ModelServer, client: Any, body: bytes, content_type: str, status: int, problem: str
) -> None:
    found, _, answer = post(server, body, Content_Type=content_type)
    assert found == status
    assert problem in json.loads(answer)["error"]
    with pytest.raises(client.exceptions.ModelError) as refused:
        invoke(client, "nanodet-g", body, content_type)
    response = refused.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == status
    assert problem in json.loads(response["OriginalMessage"])["error"]


def test_a_not_finite_input_is_refused(client: Any) -> None:
    values = np.full((1, 3, 416, 416), np.nan, np.float32)
    with pytest.raises(client.exceptions.ModelError, match="not finite"):
        tensors_of(client, "nanodet-g", "input", values)


def test_an_answer_that_is_not_acceptable_is_refused(client: Any) -> None:
    with pytest.raises(client.exceptions.ModelError, match="text/csv") as refused:
        invoke(client, "nanodet-g", JPEG, "image/jpeg", Accept="text/csv")
    assert refused.value.response["OriginalStatusCode"] == 406


def test_an_unknown_endpoint_is_a_validation_error(client: Any) -> None:
    with pytest.raises(ClientError) as refused:
        invoke(client, "nowhere", JPEG, "image/jpeg")
    assert refused.value.response["Error"]["Code"] == "ValidationError"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert "nowhere" in refused.value.response["Error"]["Message"]


def test_settings_choose_endpoints_limits_and_the_default_model() -> None:
    settings = {
        "ENDPOINTS": "things=efficientnet-lite0",
        "DEFAULT_MODEL": "efficientnet-lite0",
        "MAX_BODY_BYTES": "200000",
        "MAX_IMAGE_PIXELS": "200000",
    }
    with ModelServer(environment=settings) as server:
        status, _, body = post(server, JPEG, Content_Type="image/jpeg")
        assert status == 200
        assert "classifications" in json.loads(body)
        client = server.runtime_client()
        assert "classifications" in words(client, "things", JPEG, "image/jpeg")
        assert post(server, bytes(200_001), Content_Type="image/jpeg")[0] == 413
        large = bytes(cv2.imencode(".png", np.zeros((500, 500, 3), np.uint8))[1])
        assert post(server, large, Content_Type="image/png")[0] == 413
        with pytest.raises(ClientError, match="larger than 200000 bytes"):
            invoke(client, "things", bytes(200_001), "image/jpeg")


def test_a_wrong_signature_is_refused_and_a_right_one_holds() -> None:
    settings = {
        "SIGV4_ACCESS_KEY_ID": "key",
        "SIGV4_SECRET_ACCESS_KEY": "right",
        "SIGV4_SESSION_TOKEN": "token",
        "ENDPOINTS": "things=efficientnet-lite0",
        "DEFAULT_MODEL": "efficientnet-lite0",
    }
    with ModelServer(environment=settings) as server:
        right = server.runtime_client(secret_key="right", token="token")
        assert words(right, "things", JPEG, "image/jpeg", CustomAttributes="top_k=1; a=b c")
        for wrong, code in (
            (server.runtime_client(secret_key="wrong", token="token"), "InvalidSignatureException"),
            (server.runtime_client(secret_key="right"), "UnrecognizedClientException"),
        ):
            with pytest.raises(ClientError) as refused:
                invoke(wrong, "things", JPEG, "image/jpeg")
            assert refused.value.response["Error"]["Code"] == code
            assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
