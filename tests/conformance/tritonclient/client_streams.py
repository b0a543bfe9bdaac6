"""Streams, sequences and classification as an unmodified ``tritonclient.grpc`` uses them.

Usage: ``client_streams.py ADDRESS``. Prints one JSON object that the test beside it checks.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sys
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import tritonclient.grpc as triton  # type: ignore[import-not-found]
import tritonclient.grpc.aio as triton_aio  # type: ignore[import-not-found]
from tritonclient.utils import InferenceServerException  # type: ignore[import-not-found]

TIMEOUT_S = 60


def numbers() -> list[Any]:
    """One row."""
    tensor = triton.InferInput("x", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.array([[1, 4, 2, 3]], np.float32))
    return [tensor]


def prompt() -> list[Any]:
    """One text."""
    tensor = triton.InferInput("prompt", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([b"hello"], np.object_))
    return [tensor]


def sequences(client: Any) -> dict[str, Any]:
    """Two sequences on one stream, and one that nobody began."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    client.start_stream(
        callback=lambda result, error: answers.put(error or result), stream_timeout=TIMEOUT_S
    )
    for step in range(3):
        for number in (11, 12):
            client.async_stream_infer(
                "talks",
                numbers(),
                request_id=f"{number}-{step}",
                sequence_id=number,
                sequence_start=step == 0,
                sequence_end=step == 2,
            )
    client.async_stream_infer("talks", numbers(), request_id="lost", sequence_id=13)
    got = [answers.get(timeout=TIMEOUT_S) for _ in range(7)]
    client.stop_stream()
    results: list[Any] = []
    errors: list[Any] = []
    for each in got:
        (errors if isinstance(each, InferenceServerException) else results).append(each)
    return {
        "ids": [result.get_response().id for result in results],
        "sessions": [
            result.get_response().parameters["sm_session_id"].string_param.partition(":")[2]
            for result in results
            if "sm_session_id" in result.get_response().parameters
        ],
        "errors": [str(error.message()) for error in errors],
    }


def decoupled(client: Any) -> dict[str, Any]:
    """A model that answers several times."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    client.start_stream(
        callback=lambda result, error: answers.put(error or result), stream_timeout=TIMEOUT_S
    )
    client.async_stream_infer("parts", prompt(), request_id="d", enable_empty_final_response=True)
    got = [answers.get(timeout=TIMEOUT_S).get_response() for _ in range(4)]
    client.stop_stream()
    return {
        "config": client.get_model_config("parts", as_json=True)["config"][
            "model_transaction_policy"
        ],
        "texts": [response.raw_output_contents[0][4:].decode() for response in got[:3]],
        "final": [response.parameters["triton_final_response"].bool_param for response in got],
        "outputs": [len(response.outputs) for response in got],
    }


def classes(client: Any) -> list[str]:
    """The two largest elements."""
    wanted = [triton.InferRequestedOutput("y", class_count=2)]
    result = client.infer("talks", numbers(), outputs=wanted, client_timeout=TIMEOUT_S)
    return [str(element.decode()) for element in result.as_numpy("y")[0]]


async def asynchronous(address: str) -> dict[str, Any]:
    """The asyncio client: unary calls at once, and a stream."""
    async with triton_aio.InferenceServerClient(address) as client:
        results = await asyncio.gather(
            *(client.infer("talks", numbers(), request_id=f"a-{number}") for number in range(8))
        )

        async def requests() -> AsyncIterator[dict[str, Any]]:
            for number in range(6):
                yield {
                    "model_name": "unknown" if number == 2 else "talks",
                    "inputs": numbers(),
                    "request_id": f"s-{number}",
                }

        streamed = []
        async for result, error in client.stream_infer(requests(), stream_timeout=TIMEOUT_S):
            streamed.append("error" if error else result.get_response().id)
        return {
            "live": await client.is_server_live(),
            "ids": [result.get_response().id for result in results],
            "streamed": streamed,
        }


def main() -> None:
    """Calls everything and prints what came."""
    with triton.InferenceServerClient(sys.argv[1]) as client:
        report = {
            "sequences": sequences(client),
            "decoupled": decoupled(client),
            "classes": classes(client),
            "extensions": client.get_server_metadata(as_json=True)["extensions"],
        }
    report["asynchronous"] = asyncio.run(asynchronous(sys.argv[1]))
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main()
