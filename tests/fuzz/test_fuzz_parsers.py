"""What comes from outside is read or refused by name: no other exception, no memory for claims."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from multidict import CIMultiDict

from simcloud.errors import InvalidRequest, Unsupported
from simcloud.oip.service import METHODS
from simcloud.oip.tensors import join_bytes, new
from simcloud.rpc.status import grpc_status
from simcloud_inference_router.catalog import ModelEntry
from simcloud_inference_router.codecs import tensor_codec
from simcloud_inference_router.codecs.base import MalformedAnswer, TensorAnswer, UnencodableRequest
from simcloud_inference_router.oip_wire import fill_answer, request_from_wire
from simcloud_inference_router.signature import check_inputs, select_outputs
from simcloud_inference_router.targets.errors import (
    container_failure,
    read_error,
    sagemaker_failure,
)
from simcloud_inference_router.targets.event_stream import (
    EventStreamDecoder,
    MalformedStream,
)
from support.fuzzing import mutations
from support.router import model
from support.streaming_endpoint import exception, part

TRITON = "application/vnd.sagemaker-triton.binary+json"


def entry(codec: str, datatype: str = "FP32") -> ModelEntry:
    changes: dict[str, object] = {"tensor_codec": codec}
    if codec == "bytes":
        tensor = {"datatype": "BYTES", "shape": [1]}
        changes |= {
            "max_batch_size": 0,
            "inputs": [{"name": "x", **tensor}],
            "outputs": [{"name": "y", **tensor}],
        }
    else:
        changes |= {"outputs": [{"name": "y", "datatype": datatype, "shape": [-1, 2]}]}
    return ModelEntry.model_validate(model("det", **changes))


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


MODELS = {
    **{codec: entry(codec) for codec in ("json_v2", "triton_binary", "npy", "csv", "bytes")},
    "instances_json": entry("instances_json", "BYTES"),
}
HEADER = json.dumps(
    {
        "outputs": [
            {
                "name": "y",
                "datatype": "FP32",
                "shape": [1, 2],
                "parameters": {"binary_data_size": 8},
            }
        ]
    }
).encode()
ANSWERS: dict[str, tuple[str, list[bytes]]] = {
    "triton_binary": (
        f"{TRITON};json-header-size={len(HEADER)}",
        [HEADER + struct.pack("<2f", 1, 2)],
    ),
    "json_v2": (
        "application/json",
        [
            b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[[1,2.5]]}]}',
            b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[1,2]}],'
            b'"parameters":{"a":1,"b":true,"c":"d","e":1.5}}',
        ],
    ),
    "instances_json": (
        "application/json",
        [b'{"predictions":[["a",{"b64":"/w=="}],{"y":["c","d"]}]}'],
    ),
    "csv": ("text/csv", [b"1,2\n3,4\n", b"[1.0, 2.0],[3.0, 4.0]"]),
    "npy": ("application/x-npy", [saved(np.ones((1, 2), np.float32))]),
    "bytes": ("application/json", [b"anything"]),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_read_or_malformed(name: str) -> None:
    described = MODELS[name]
    codec = tensor_codec(described)
    assert codec is not None
    content_type, seeds = ANSWERS[name]
    understood = 0
    for data in mutations(seeds, name=f"answer-{name}"):
        try:
            answer = codec.decode(data, content_type)
            outputs = select_outputs(described, answer.outputs, ("y",))
        except MalformedAnswer:
            continue
        understood += 1
        # What was understood can be sent on.
        response = new("ModelInferResponse")
        request = new("ModelInferRequest")
        tensors = TensorAnswer(outputs, answer.parameters)
        fill_answer(response, model=described, request=request, answer=tensors)
        response.SerializeToString()
    assert understood >= len(seeds)


def requests() -> list[bytes]:
    raw = new("ModelInferRequest")
    raw.model_name, raw.id = "det", "1"
    raw.inputs.add(name="x", datatype="FP32", shape=[2, 4])
    raw.raw_input_contents.append(bytes(32))
    raw.outputs.add(name="y").parameters["classification"].int64_param = 1
    raw.parameters["sequence_id"].int64_param = 7
    raw.parameters["sm_target_model"].string_param = "a.tar.gz"
    raw.parameters["triton_enable_empty_final_response"].bool_param = True
    raw.parameters["p"].double_param = 0.5
    typed = new("ModelInferRequest")
    typed.inputs.add(name="x", datatype="FP32", shape=[1, 4]).contents.fp32_contents.extend([1] * 4)
    text = new("ModelInferRequest")
    text.inputs.add(name="x", datatype="BYTES", shape=[1])
    text.raw_input_contents.append(join_bytes([b"text"]))
    return [bytes(each.SerializeToString()) for each in (raw, typed, text)]


@pytest.mark.parametrize("name", MODELS)
def test_a_request_is_read_or_refused(name: str) -> None:
    described = MODELS[name]
    codec = tensor_codec(described)
    assert codec is not None
    parse: Callable[[bytes], object] = METHODS["ModelInfer"].request.FromString
    for data in mutations(requests(), name=f"request-{name}"):
        try:
            wire = request_from_wire(described, parse(data))
            check_inputs(described, wire.tensors.inputs)
            codec.encode(wire.tensors)
        except (DecodeError, InvalidRequest, Unsupported, UnencodableRequest) as exc:
            if isinstance(exc, InvalidRequest):
                grpc_status(exc).SerializeToString()


def test_an_event_stream_is_read_or_malformed_and_keeps_no_more_than_came() -> None:
    seeds = [part(b"abc") + part(b""), exception("ModelStreamError", "m", "StreamBroken")]
    for data in mutations(seeds, name="events"):
        decoder = EventStreamDecoder(max_payload_bytes=4096)
        try:
            for start in range(0, len(data), 7):
                decoder.feed(data[start : start + 7])
                assert len(decoder._buffer) <= len(data)
            decoder.finish()
        except MalformedStream:
            continue


def test_every_error_body_makes_an_error_that_can_be_sent() -> None:
    seeds = [
        b'{"Message":"m","OriginalStatusCode":503,"OriginalMessage":"o","LogStreamArn":"a"}',
        b'{"__type":"com.amazonaws#ValidationError","message":"not found"}',
        b'{"error":"Exceeds maximum queue size"}',
    ]
    for number, data in enumerate(mutations(seeds, name="errors")):
        status = (400, 403, 424, 429, 500, 503, 530)[number % 7]
        headers = CIMultiDict(
            {
                "x-amzn-errortype": data[:40].decode("latin-1"),
                "retry-after": data[-9:].decode("latin-1"),
                "x-amzn-requestid": data[:20].decode("utf-8", "surrogateescape"),
            }
        )
        wire = read_error("det", status, headers, data)
        for failure in (sagemaker_failure(wire), container_failure(wire)):
            grpc_status(failure.error).SerializeToString()
