"""What an unmodified ``tritonclient.grpc`` sees of the router; run in its own environment.

Usage: ``client.py ADDRESS``. Prints one JSON object that the test beside it checks; this file only
calls and reports, and imports nothing of ours.
"""

from __future__ import annotations

import json
import queue
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import tritonclient.grpc as triton  # type: ignore[import-not-found]
from tritonclient.utils import InferenceServerException  # type: ignore[import-not-found]

MODEL = "nanodet-g"
TIMEOUT_S = 60


def infer_input(count: int = 1) -> list[Any]:
    """A batch of grey pictures."""
    image = np.full((count, 48, 64, 3), 120, np.uint8)
    tensor = triton.InferInput("image", list(image.shape), "UINT8")
    tensor.set_data_from_numpy(image)
    return [tensor]


def shapes(result: Any) -> dict[str, list[int]]:
    """Shape of every output, by name."""
    names = [output.name for output in result.get_response().outputs]
    return {name: list(result.as_numpy(name).shape) for name in names}


def error_of(call: Callable[[], object]) -> list[str]:
    """Status and message of the error that a call ends with; empty when there is none."""
    try:
        call()
    except InferenceServerException as error:
        return [str(error.status()), str(error.message())]
    return []


def describe(client: Any) -> dict[str, Any]:
    """Liveness, metadata, configuration, statistics and index."""
    config = client.get_model_config(MODEL, as_json=True)["config"]
    metadata = client.get_model_metadata(MODEL, as_json=True)
    statistics = client.get_inference_statistics(MODEL, as_json=True)["model_stats"][0]
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(MODEL),
        "unknown_ready": client.is_model_ready("no-such-model"),
        "server": client.get_server_metadata(as_json=True),
        "inputs": [tensor["name"] for tensor in metadata["inputs"]],
        "outputs": [tensor["name"] for tensor in metadata["outputs"]],
        "max_batch_size": config["max_batch_size"],
        "config_input": config["input"],
        "statistics": statistics,
        "index": [
            [model["name"], model["state"]]
            for model in client.get_model_repository_index(as_json=True)["models"]
        ],
    }


def unary(client: Any) -> dict[str, Any]:
    """One inference, typed errors, several at once."""
    result = client.infer(MODEL, infer_input(2), request_id="unary-1", client_timeout=TIMEOUT_S)
    wanted = [triton.InferRequestedOutput("count")]
    one = client.infer(MODEL, infer_input(), outputs=wanted, client_timeout=TIMEOUT_S)
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for number in range(8):
        client.async_infer(
            MODEL,
            infer_input(),
            callback=lambda result, error: answers.put(error or result),
            request_id=f"async-{number}",
            client_timeout=TIMEOUT_S,
        )
    got = [answers.get(timeout=TIMEOUT_S) for _ in range(8)]
    wrong = triton.InferInput("image", [1, 4], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 4), np.float32))
    return {
        "id": result.get_response().id,
        "shapes": shapes(result),
        "one_output": shapes(one),
        "async_ids": sorted(str(answer.get_response().id) for answer in got),
        "unknown_model": error_of(lambda: client.infer("no-such-model", infer_input())),
        "wrong_datatype": error_of(lambda: client.infer(MODEL, [wrong])),
        "unknown_output": error_of(
            lambda: client.infer(
                MODEL, infer_input(), outputs=[triton.InferRequestedOutput("none")]
            )
        ),
        "shared_memory": error_of(client.get_system_shared_memory_status),
    }


def streamed(client: Any) -> dict[str, Any]:
    """A stream with an error in its middle, and the empty-final-response extension."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def put(result: Any, error: Any) -> None:
        answers.put(["error", str(error.message())] if error else ["ok", result])

    client.start_stream(callback=put, stream_timeout=TIMEOUT_S)
    for number in range(12):
        send = partial(client.async_stream_infer, request_id=f"stream-{number}")
        send("no-such-model" if number == 5 else MODEL, infer_input())
    got = [answers.get(timeout=TIMEOUT_S) for _ in range(12)]
    client.async_stream_infer(
        MODEL, infer_input(), request_id="final", enable_empty_final_response=True
    )
    final = answers.get(timeout=TIMEOUT_S)[1].get_response()
    client.stop_stream()
    return {
        "answers": [answer.get_response().id if kind == "ok" else "error" for kind, answer in got],
        "error": next(answer for kind, answer in got if kind == "error"),
        "final": final.parameters["triton_final_response"].bool_param,
    }


def streamed_with_grpc_errors(client: Any) -> list[str]:
    """The same error where the client wants it as the stream's status."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    client.start_stream(
        callback=lambda result, error: answers.put(error or result),
        stream_timeout=TIMEOUT_S,
        headers={"triton_grpc_error": "true"},
    )
    client.async_stream_infer("no-such-model", infer_input())
    error = answers.get(timeout=TIMEOUT_S)
    client.stop_stream(cancel_requests=True)
    return [str(error.status()), str(error.message())]


def main() -> None:
    """Calls everything and prints what came."""
    with triton.InferenceServerClient(sys.argv[1]) as client:
        report = {
            "unary": unary(client),
            "stream": streamed(client),
            "grpc_errors": streamed_with_grpc_errors(client),
            "described": describe(client),
        }
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main()
