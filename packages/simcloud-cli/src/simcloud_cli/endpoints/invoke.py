"""One real request to an endpoint, as the router sends it, and its answer in words.

A picture goes as it is, with the answer as JSON (the router's raw codec); an array goes as Triton's
binary tensor (docs/concepts/routing.md).
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from simcloud.client.pictures import picture_of
from simcloud.client.router import Picture
from simcloud.clock import SYSTEM_CLOCK, Clock
from simcloud.errors import (
    InvalidRequest,
    NotFound,
    NotReady,
    PreconditionFailed,
    SimcloudError,
    TargetError,
)
from simcloud.oip.tensors import tensor_of
from simcloud.scoring.decode import decode_classifications, decode_detections
from simcloud_cli.endpoints.aws import Aws, Request
from simcloud_cli.endpoints.describe import SERVES, Endpoint, find_endpoint
from simcloud_cli.endpoints.refusals import translating

TRITON_TYPE = "application/vnd.sagemaker-triton.binary+json"
_JSON_TYPE = "application/json"
_SIDE_PX = 64
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What is sent."""

    data: bytes
    content_type: str
    accept: str
    what: str
    """In words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointAnswer:
    """What came back."""

    endpoint: str
    sent: str
    latency_s: float
    """From the request to the answer's last byte, signing and network included."""
    retries: int
    """Times that boto3 asked again: the latency has them in it."""
    variant: str
    content_type: str
    answer_bytes: int
    answer: list[str]
    """In words, a line each."""


def picture_body(path: Path | None) -> Body:
    """A picture to send: a file's, or one of our own, a ramp of 64 x 64 pixels.

    Raises:
        NotFound: there is no such file.
        InvalidRequest: it is neither PNG nor JPEG.
    """
    if path is None:
        ramp = np.linspace(0, 255, _SIDE_PX, dtype=np.uint8)
        given: Path | npt.NDArray[np.uint8] = np.stack(
            [np.tile(ramp, (_SIDE_PX, 1)), np.tile(ramp[:, None], (1, _SIDE_PX))] * 2, axis=2
        )[:, :, :3]
        what = f"a ramp of {_SIDE_PX} x {_SIDE_PX} pixels"
    else:
        given, what = path, path.name
    picture = picture_of(given)
    assert isinstance(picture, Picture), "a path or pixels are no reference"
    return Body(data=picture.data, content_type=picture.media_type, accept=_JSON_TYPE, what=what)


def tensor_body(path: Path, name: str) -> Body:
    """An array of an ``.npy`` file as Triton's one input tensor.

    Raises:
        NotFound: there is no such file.
        InvalidRequest: it is no array, or of a type that has no tensor.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise NotFound(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise InvalidRequest("--npy", f"{path} is no array: {error}") from error
    tensor = tensor_of(name, array)
    header = json.dumps(
        {
            "inputs": [
                {
                    "name": tensor.name,
                    "shape": list(tensor.shape),
                    "datatype": tensor.datatype,
                    "parameters": {"binary_data_size": len(tensor.data)},
                }
            ],
            "parameters": {"binary_data_output": True},
        },
        separators=(",", ":"),
    ).encode()
    return Body(
        data=header + tensor.data,
        content_type=f"{TRITON_TYPE};json-header-size={len(header)}",
        accept=TRITON_TYPE,
        what=f"{path.name} as {name}, {tensor.datatype} {list(tensor.shape)}",
    )


async def ask_endpoint(
    aws: Aws, name: str, body: Body, *, part: str = "", clock: Clock = SYSTEM_CLOCK
) -> EndpointAnswer:
    """Asks an endpoint once.

    Args:
        aws: the account.
        name: the endpoint.
        body: what is sent.
        part: variant or component; empty: by weight, or the only component.
        clock: measures the time.

    Raises:
        NotFound: there is no such endpoint.
        NotReady: it does not answer now: asleep, being made, or without capacity.
        InvalidRequest: it answers through S3 alone, or has no such part.
        TargetError: the model failed, or its answer is none.
        SimcloudError: as ``Aws.ask``.
    """
    endpoint = await find_endpoint(aws, name)
    if endpoint is None:
        raise NotFound(
            f"there is no endpoint {name} in {aws.region}: `simcloud endpoint status {name}` says "
            "whether it sleeps"
        )
    request = _invocation(endpoint, body, part)
    begun = clock.monotonic()
    try:
        answer = await aws.ask(request)
        data = await asyncio.to_thread(_read, answer, request, aws.region)
    except SimcloudError as error:
        raise _explained(error, name) from error
    latency_s = clock.monotonic() - begun
    content_type = str(answer.get("ContentType", ""))
    return EndpointAnswer(
        endpoint=name,
        sent=body.what,
        latency_s=latency_s,
        retries=int(answer.get("ResponseMetadata", {}).get("RetryAttempts", 0)),
        variant=str(answer.get("InvokedProductionVariant", "")),
        content_type=content_type,
        answer_bytes=len(data),
        answer=in_words(data, content_type, endpoint=name),
    )


def _invocation(endpoint: Endpoint, body: Body, part: str) -> Request:
    if endpoint.kind == "async":
        raise InvalidRequest(
            "NAME",
            f"{endpoint.name} answers through S3 alone: ask it by the router, `simcloud infer`",
        )
    if endpoint.status not in SERVES:
        raise NotReady(f"endpoint {endpoint.name} is {endpoint.status}: {endpoint.failure}")
    parameters: dict[str, object] = {
        "EndpointName": endpoint.name,
        "Body": body.data,
        "ContentType": body.content_type,
        "Accept": body.accept,
    }
    if endpoint.kind == "component":
        parameters["InferenceComponentName"] = endpoint.component(part).name
    elif part:
        parameters["TargetVariant"] = endpoint.variant(part).name
    return Request(
        service="sagemaker-runtime",
        operation="InvokeEndpoint",
        parameters=parameters,
        resource=f"endpoint/{endpoint.name}",
    )


def _read(answer: dict[str, Any], request: Request, region: str) -> bytes:
    with translating(request, region=region):
        data: bytes = answer["Body"].read()
    return data


def _explained(error: SimcloudError, name: str) -> SimcloudError:
    """An error of the runtime, in the terms of endpoints."""
    if not isinstance(error, PreconditionFailed):
        return error
    words = error.message
    if "no capacity" in words:
        # How the runtime says that a component is at no copy (docs/concepts/routing.md).
        return NotReady(f"{words}: it sleeps or is being woken: `simcloud endpoint wake {name}`")
    if error.metadata.get("aws_code") == "ModelError":
        return TargetError(
            f"{words}: the container's log is /aws/sagemaker/Endpoints/{name} in CloudWatch",
            target=name,
            target_code="ModelError",
        )
    return error


def in_words(data: bytes, content_type: str, *, endpoint: str) -> list[str]:
    """An answer, read as the router and the score job read it.

    Raises:
        TargetError: it is none of the forms that a model of ours answers in.
    """
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind == TRITON_TYPE:
            return _tensors(json.loads(data[: int(content_type.rpartition("=")[2])]))
        document = json.loads(data)
        if "detections" in document:
            found = decode_detections(data)
            rows = [f"{item.label} {item.score:.3f} at {_box(item.box)}" for item in found]
            return [f"{len(found)} detections", *rows[:_SHOWN]]
        if "classifications" in document:
            classes = decode_classifications(data)
            return [f"{item.label} {item.score:.3f}" for item in classes[:_SHOWN]]
        if "outputs" in document:
            return _tensors(document)
    except (ValueError, KeyError, TypeError, SimcloudError) as error:
        raise _no_answer(data, content_type, endpoint) from error
    raise _no_answer(data, content_type, endpoint)


def _tensors(document: dict[str, Any]) -> list[str]:
    return [
        f"{item['name']}: {item['datatype']} {list(item['shape'])}" for item in document["outputs"]
    ]


def _box(box: tuple[float, float, float, float]) -> str:
    return "(" + ", ".join(f"{edge:.0f}" for edge in box) + ")"


def _no_answer(data: bytes, content_type: str, endpoint: str) -> TargetError:
    begins = data[:80].decode("utf-8", "replace")
    return TargetError(
        f"{endpoint} answered {len(data)} bytes of {content_type or 'no type'}, which are neither "
        f"detections, classes nor tensors: {begins!r}",
        target=endpoint,
        http_status=200,
    )
