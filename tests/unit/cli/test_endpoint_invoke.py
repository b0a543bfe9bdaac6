"""`simcloud endpoint test`: one request as the router sends it, and every way it can end."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from botocore.response import StreamingBody

from simcloud.errors import InvalidRequest, NotFound, NotReady, TargetError
from simcloud_cli.endpoints.aws import Aws, AwsPlace
from simcloud_cli.endpoints.invoke import (
    TRITON_TYPE,
    Body,
    EndpointAnswer,
    ask_endpoint,
    picture_body,
    tensor_body,
)
from support.aws_stubs import ANY, PaperAws
from support.paper_endpoints import (
    NAME,
    shows_async,
    shows_component,
    shows_no_endpoint,
    shows_realtime,
)

SEEN = {"label": "couch", "class_id": 57, "score": 0.669, "box_xyxy_px": [159.0, 153.2, 405.3, 255]}


def _answers(
    paper: PaperAws, body: bytes, content_type: str = "application/json", **expected: object
) -> None:
    paper.answers(
        "sagemaker-runtime",
        "InvokeEndpoint",
        {
            "EndpointName": NAME,
            "Body": ANY,
            "ContentType": "image/png",
            "Accept": "application/json",
            **expected,
        },
        {
            "Body": StreamingBody(io.BytesIO(body), len(body)),
            "ContentType": content_type,
            "InvokedProductionVariant": "AllTraffic",
        },
    )


async def _ask(body: Body | None = None, *, part: str = "") -> EndpointAnswer:
    return await ask_endpoint(Aws(AwsPlace()), NAME, body or picture_body(None), part=part)


async def test_a_picture_is_sent_as_it_is_and_detections_are_read(paper: PaperAws) -> None:
    shows_realtime(paper)
    _answers(paper, json.dumps({"detections": [SEEN]}).encode())
    tested = await _ask()
    assert tested.answer == ["1 detections", "couch 0.669 at (159, 153, 405, 255)"]
    assert tested.variant == "AllTraffic"
    assert tested.latency_s >= 0
    _, _, parameters = paper.sent[-1]
    assert parameters["Body"].startswith(b"\x89PNG")


async def test_classes_are_read_too(paper: PaperAws) -> None:
    shows_realtime(paper)
    _answers(
        paper,
        b'{"classifications": [{"label": "tabby", "class_id": 281, "score": 0.75}]}',
        TargetVariant="AllTraffic",
    )
    assert (await _ask(part="AllTraffic")).answer == ["tabby 0.750"]


async def test_a_component_is_asked_by_its_name(paper: PaperAws) -> None:
    shows_component(paper)
    _answers(paper, b'{"detections": []}', InferenceComponentName=NAME)
    assert (await _ask()).answer == ["0 detections"]


async def test_an_array_goes_as_tritons_tensor(paper: PaperAws, tmp_path: Path) -> None:
    path = tmp_path / "input.npy"
    np.save(path, np.zeros((1, 3, 2, 2), np.float32))
    header = json.dumps(
        {"outputs": [{"name": "scores", "datatype": "FP32", "shape": [1, 5]}]}
    ).encode()
    shows_realtime(paper)
    _answers(
        paper,
        header + bytes(20),
        f"{TRITON_TYPE};json-header-size={len(header)}",
        ContentType=ANY,
        Accept=TRITON_TYPE,
    )
    tested = await _ask(tensor_body(path, "input"))
    assert tested.answer == ["scores: FP32 [1, 5]"]
    _, _, parameters = paper.sent[-1]
    size = int(parameters["ContentType"].partition("json-header-size=")[2])
    sent = json.loads(parameters["Body"][:size])
    assert sent["inputs"][0]["shape"] == [1, 3, 2, 2]
    assert len(parameters["Body"]) == size + 48


@pytest.mark.parametrize("body", [b"<html>", b'{"other": 1}', b'{"detections": [{}]}', b""])
async def test_an_answer_that_is_none_is_no_success(paper: PaperAws, body: bytes) -> None:
    shows_realtime(paper)
    _answers(paper, body)
    with pytest.raises(TargetError, match="neither detections, classes nor tensors"):
        await _ask()


async def test_a_model_that_fails_names_its_log(paper: PaperAws) -> None:
    shows_realtime(paper)
    paper.refuses(
        "sagemaker-runtime", "InvokeEndpoint", "ModelError", "Received server error", status=424
    )
    with pytest.raises(TargetError, match="/aws/sagemaker/Endpoints/detector"):
        await _ask()


async def test_a_component_at_no_copy_is_said_to_sleep(paper: PaperAws) -> None:
    shows_component(paper, copies=0)
    paper.refuses(
        "sagemaker-runtime",
        "InvokeEndpoint",
        "ValidationError",
        "Inference Component has no capacity to process this request.",
    )
    with pytest.raises(NotReady, match="simcloud endpoint wake detector"):
        await _ask()


async def test_nothing_is_sent_to_an_endpoint_that_does_not_serve(paper: PaperAws) -> None:
    shows_realtime(paper, status="Creating")
    with pytest.raises(NotReady, match="is Creating"):
        await _ask()
    shows_async(paper)
    with pytest.raises(InvalidRequest, match="through S3 alone"):
        await _ask()
    shows_no_endpoint(paper)
    with pytest.raises(NotFound, match="whether it sleeps"):
        await _ask()
    shows_realtime(paper)
    with pytest.raises(InvalidRequest, match="has AllTraffic; name one"):
        await _ask(part="other")


def test_bad_files_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        picture_body(tmp_path / "none.png")
    text = tmp_path / "text.png"
    text.write_text("no picture")
    with pytest.raises(InvalidRequest, match="neither PNG nor JPEG"):
        picture_body(text)
    with pytest.raises(InvalidRequest, match="is no array"):
        tensor_body(text, "input")
    with pytest.raises(NotFound, match="no such file"):
        tensor_body(tmp_path / "none.npy", "input")
