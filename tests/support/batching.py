"""A model that takes batches, behind a real HTTP endpoint that tells what it was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from simcloud.oip.tensors import Tensor, tensor_of
from simcloud_inference_router.batching.former import BatchFormer
from simcloud_inference_router.codecs.base import Parameter, TensorRequest
from simcloud_inference_router.dispatch import RoutedModel
from simcloud_inference_router.router import Call
from simcloud_inference_router.statistics import CallTrace, ModelCounts
from support.eventually import eventually
from support.router import RunningRouter, model, running_router, settings_for, write_catalog
from support.scripted_endpoint import Invocation, Reply, ScriptedEndpoint, scripted_endpoint

TRITON = "application/vnd.sagemaker-triton.binary+json"
BAD = -1.0
"""A value that the model refuses, and with it the whole request."""


def tensors_of(invocation: Invocation) -> tuple[Tensor, ...]:
    """The inputs of a request in Triton's binary form."""
    size = int(invocation.headers["Content-Type"].rpartition("=")[2])
    position, tensors = size, []
    for each in json.loads(invocation.body[:size])["inputs"]:
        length = each["parameters"]["binary_data_size"]
        data = invocation.body[position : position + length]
        position += length
        tensors.append(Tensor(each["name"], each["datatype"], tuple(each["shape"]), data))
    return tuple(tensors)


def answer_of(*outputs: Tensor) -> Reply:
    """An answer in Triton's binary form."""
    header = json.dumps(
        {
            "outputs": [
                {
                    "name": each.name,
                    "datatype": each.datatype,
                    "shape": each.shape,
                    "parameters": {"binary_data_size": len(each.data)},
                }
                for each in outputs
            ]
        }
    ).encode()
    headers = {"content-type": f"{TRITON};json-header-size={len(header)}"}
    return Reply(200, header + b"".join(each.data for each in outputs), headers)


def model_error(status: int, message: str) -> Reply:
    """What the runtime says when the container answers an error."""
    body = json.dumps({"OriginalStatusCode": status, "OriginalMessage": message, "Message": "m"})
    headers = {"content-type": "application/json", "x-amzn-ErrorType": "ModelError"}
    return Reply(424, body.encode(), headers)


def doubled(invocation: Invocation) -> Reply:
    """Twice each number of the one input; 400 for all when one of them is ``BAD``."""
    (x,) = tensors_of(invocation)
    values = x.array()
    if (values == BAD).any():
        return model_error(400, "a bad row")
    return answer_of(tensor_of("y", 2 * values))


class Batched:
    """A router with one slot at an endpoint whose model `det` doubles numbers, in batches."""

    def __init__(self, router: RunningRouter, endpoint: ScriptedEndpoint) -> None:
        self.router = router
        self.endpoint = endpoint
        self.traces: list[CallTrace] = []
        """Of all requests that were asked here."""

    @property
    def model(self) -> RoutedModel:
        """The model."""
        return self.router.router.models["det"]

    @property
    def counts(self) -> ModelCounts:
        """What the router counted of it."""
        return self.model.counts

    @property
    def former(self) -> BatchFormer:
        """Where its batches form."""
        assert self.model.batches is not None
        return self.model.batches

    @property
    def sent(self) -> list[int]:
        """Rows of each request that came to the endpoint."""
        return [tensors_of(each)[0].shape[0] for each in self.endpoint.seen]

    async def ask(
        self,
        *values: float,
        caller: str = "",
        within_s: float | None = 30.0,
        patient: bool = True,
        width: int = 4,
        parameters: Mapping[str, Parameter] | None = None,
    ) -> list[float]:
        """One request with a row for each value; the answer's first column."""
        router = self.router.router
        x = np.repeat(np.array(values, "<f4")[:, None], width, axis=1)
        request = TensorRequest((tensor_of("x", x),), ("y",), "id", parameters or {})
        deadline = None if within_s is None else router.clock.monotonic() + within_s
        call = Call(caller=caller, deadline=deadline, patient=patient)
        trace = CallTrace()
        self.traces.append(trace)
        with router.recorded(self.model, trace, call, ""):
            answer = await router.infer_tensors(self.model, request, call, trace)
        (output,) = answer.tensors.outputs
        assert output.shape == x.shape
        first: list[float] = output.array()[:, 0].tolist()
        return first

    def begin(self, *values: float, **changes: object) -> asyncio.Future[list[float]]:
        """Begins to ask; arguments as ``ask``."""
        return asyncio.ensure_future(self.ask(*values, **changes))  # type: ignore[arg-type]

    async def hold(self) -> asyncio.Future[list[float]]:
        """Takes the endpoint's one slot with a request of 1.0 until ``release``."""
        self.endpoint.hold = asyncio.Event()
        holder = self.begin(1.0)
        await eventually(lambda: self.endpoint.in_flight == 1)
        return holder

    def release(self) -> None:
        """Lets the endpoint answer what it holds, and all later ones at once."""
        assert self.endpoint.hold is not None
        self.endpoint.hold.set()

    async def forming(self, members: int) -> None:
        """Waits until so many requests are in batches that others may still join."""
        await eventually(lambda: self.former.members == members)

    def assert_idle(self) -> None:
        """Nothing is held, nobody waits, no batch is left."""
        door = self.model.door
        assert (door.in_flight, door.waiting, self.former.members) == (0, 0, 0)


@asynccontextmanager
async def batched(
    folder: Path,
    *,
    settings: Mapping[str, object] | None = None,
    slots: int = 1,
    options: Mapping[str, object] | None = None,
    changes: Mapping[str, object] | None = None,
) -> AsyncIterator[Batched]:
    """Such a router within the block.

    Args:
        folder: for its catalogue.
        settings: of the router.
        slots: of its target.
        options: of `dynamic_batching`.
        changes: to the catalogue's entry.
    """
    described = {
        **model(),
        "picture_codec": None,
        "dynamic_batching": dict(options or {}),
        **(changes or {}),
    }
    async with scripted_endpoint() as endpoint:
        endpoint.respond = doubled
        chosen = settings_for(
            write_catalog(folder, described),
            endpoint.url,
            limiter={"start": slots, "maximum": slots},
            **(settings or {}),
        )
        async with running_router(chosen) as router:
            yield Batched(router, endpoint)
