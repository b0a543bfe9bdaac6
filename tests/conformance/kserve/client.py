"""What KServe's unmodified ``InferenceGRPCClient`` sees of the router; in its own environment.

Usage: ``client.py ADDRESS``. Prints one JSON object that the check beside it reads.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest  # type: ignore[import-not-found]

MODEL = "nanodet-g"


def request(request_id: str, *, raw: bool) -> Any:
    """A grey picture, as raw contents or as typed ones."""
    image = np.full((1, 24, 32, 3), 120, np.uint8)
    tensor = InferInput("image", list(image.shape), "UINT8")
    tensor.set_data_from_numpy(image, binary_data=raw)
    return InferRequest(model_name=MODEL, infer_inputs=[tensor], request_id=request_id)


async def error_of(call: Any) -> str:
    """Status of the error that a call ends with."""
    try:
        await call
    except grpc.RpcError as error:
        return str(error.code())
    return ""


async def report(address: str) -> dict[str, Any]:
    """Calls everything."""
    async with InferenceGRPCClient(url=address) as client:
        raw = await client.infer(request("raw", raw=True))
        typed = await client.infer(request("typed", raw=False))
        wrong = request("wrong", raw=True)
        wrong.model_name = "no-such-model"
        return {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model_ready": await client.is_model_ready(MODEL),
            "unknown_ready": await client.is_model_ready("no-such-model"),
            "ids": [raw.id, typed.id],
            "shapes": {output.name: list(output.as_numpy().shape) for output in raw.outputs},
            "equal": all(
                np.array_equal(one.as_numpy(), other.as_numpy())
                for one, other in zip(raw.outputs, typed.outputs, strict=True)
            ),
            "unknown": await error_of(client.infer(wrong)),
        }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(report(sys.argv[1]))))
