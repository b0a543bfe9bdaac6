"""A picture, and what is asked of a model container about it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from support.model_server import ModelServer

PICTURE = Path(__file__).parents[1] / "data" / "model" / "showroom.jpg"
JPEG = PICTURE.read_bytes()
PIXELS: npt.NDArray[np.uint8] = np.asarray(
    cv2.imdecode(np.frombuffer(JPEG, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8
)
PNG = bytes(cv2.imencode(".png", PIXELS[:, :, ::-1])[1])
BINARY = "application/vnd.sagemaker-triton.binary+json"


def invoke(client: Any, endpoint: str, body: bytes, content_type: str, **more: str) -> Any:
    """The answer to a request through boto3's client of the runtime."""
    return client.invoke_endpoint(
        EndpointName=endpoint, Body=body, ContentType=content_type, **more
    )


def tensor_body(
    name: str, values: npt.NDArray[Any], parameters: dict[str, object] | None = None
) -> tuple[str, bytes]:
    """Content type and body of a request of one tensor in Triton's binary form."""
    datatype = {"uint8": "UINT8", "float32": "FP32"}[values.dtype.name]
    entry = {
        "name": name,
        "datatype": datatype,
        "shape": list(values.shape),
        "parameters": {"binary_data_size": values.nbytes},
    }
    document = {
        "id": "q-1",
        "inputs": [entry],
        "parameters": {"binary_data_output": True, **(parameters or {})},
    }
    header = json.dumps(document).encode()
    return f"{BINARY};json-header-size={len(header)}", header + values.tobytes()


def variations(count: int) -> npt.NDArray[np.uint8]:
    """Different pictures of one size: the test picture, rolled and dimmed."""
    rolled = [np.roll(PIXELS, 40 * i, axis=1) * (1 - 0.04 * i) for i in range(count)]
    return np.stack(rolled).astype(np.uint8)


def post(server: ModelServer, body: bytes, **headers: str) -> tuple[int, Any, bytes]:
    """Status, headers and body of the answer to a request; underlines in names are dashes."""
    request = urllib.request.Request(
        f"{server.url}/invocations",
        data=body,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def eventually(condition: Callable[[], bool], running: ModelServer) -> None:
    """Poll over HTTP, which takes its time, until it holds or the test's timeout ends it."""
    while not condition():
        assert running.process.poll() is None, running.log()
