from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from simcloud.errors import InvalidRequest, NotFound, SimcloudError, Unsupported
from simcloud.oip.pool import OipMessage, enum_number
from simcloud.oip.tensors import Array, fill_request, new, output_arrays
from simcloud.rpc.status import client_errors
from support.eventually import eventually
from support.router import RunningRouter, model, running_router, settings_for, write_catalog
from support.scripted_endpoint import Reply, ScriptedEndpoint, scripted_endpoint

TRITON = "application/vnd.sagemaker-triton.binary+json"
ECHOED = (
    *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *("FP16", "BF16", "FP32", "FP64", "BYTES"),
)


def echo_model(datatype: str) -> dict[str, object]:
    """A model whose output ``y`` is its input ``x``; no batches."""
    tensor = {"datatype": datatype, "shape": [-1, 2]}
    name = f"echo-{datatype.lower()}"
    return model(
        name,
        max_batch_size=0,
        inputs=[{"name": "x", **tensor}],
        outputs=[{"name": "y", **tensor}],
        targets=[{"name": name, "kind": "sagemaker", "endpoint": "echo"}],
    )


def echo(seen: bytes, content_type: str) -> Reply:
    size = int(content_type.rpartition("=")[2])
    header = json.loads(seen[:size])
    outputs = [{**tensor, "name": "y"} for tensor in header["inputs"]]
    answer = json.dumps({"outputs": outputs}).encode()
    headers = {"content-type": f"{TRITON};json-header-size={len(answer)}"}
    return Reply(200, answer + seen[size:], headers)


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    async with scripted_endpoint() as running:
        running.respond = lambda seen: echo(seen.body, seen.headers["Content-Type"])
        yield running


@pytest.fixture
async def router(endpoint: ScriptedEndpoint, tmp_path: Path) -> AsyncIterator[RunningRouter]:
    catalog = write_catalog(
        tmp_path,
        model(),
        *map(echo_model, ECHOED),
        model("pictures", tensor_codec=None, inputs=[], outputs=[]),
        model("tensors", picture_codec=None),
    )
    async with running_router(settings_for(catalog, endpoint.url, stream_window=4)) as running:
        yield running


def echo_request(array: Array, datatype: str, request_id: str = "") -> OipMessage:
    request = new("ModelInferRequest")
    request.model_name, request.id = f"echo-{datatype.lower()}", request_id
    fill_request(request, [("x", array)])
    request.inputs[0].datatype = datatype
    return request


async def infer(router: RunningRouter, request: OipMessage) -> OipMessage:
    with client_errors():
        return await router.oip.ModelInfer(request, timeout=10)


@pytest.mark.parametrize("datatype", ECHOED)
async def test_every_datatype_goes_there_and_back_raw(router: RunningRouter, datatype: str) -> None:
    names = {"BOOL": "?", "FP16": "<f2", "BF16": "<u2", "FP32": "<f4", "FP64": "<f8"}
    if datatype == "BYTES":
        array: Array = np.array([[b"a", b""], [b"\xff\x00", b"four"]], object)
    else:
        array = np.array([[0, 1], [1, 0]], names.get(datatype, datatype.lower()))
    response = await infer(router, echo_request(array, datatype))
    back = output_arrays(response)["y"]
    assert back.tolist() == array.tolist()
    assert response.outputs[0].datatype == datatype
    assert not response.outputs[0].HasField("contents")


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("BOOL", "bool_contents", [True, False]),
        ("INT8", "int_contents", [-128, 127]),
        ("INT64", "int64_contents", [-(2**63), 2**63 - 1]),
        ("UINT16", "uint_contents", [0, 65535]),
        ("UINT64", "uint64_contents", [0, 2**64 - 1]),
        ("FP32", "fp32_contents", [0.5, -1.0]),
        ("FP64", "fp64_contents", [0.1, -1.0]),
        ("BYTES", "bytes_contents", [b"a", b"bc"]),
    ],
)
async def test_typed_contents_arrive_as_raw_ones_do(
    router: RunningRouter, datatype: str, field: str, values: list[object]
) -> None:
    request = new("ModelInferRequest")
    request.model_name = f"echo-{datatype.lower()}"
    tensor = request.inputs.add(name="x", datatype=datatype, shape=[1, 2])
    getattr(tensor.contents, field).extend(values)
    response = await infer(router, request)
    assert output_arrays(response)["y"].tolist() == [values]


def broken(kind: str) -> OipMessage:
    request = echo_request(np.zeros((1, 2), np.float32), "FP32")
    tensor = request.inputs[0]
    match kind:
        case "mixed":
            tensor.contents.fp32_contents.extend([1, 2])
        case "count":
            request.raw_input_contents.append(b"")
        case "size":
            request.raw_input_contents[0] = b"abc"
        case "datatype":
            tensor.datatype = "FP31"
        case "negative":
            tensor.shape[:] = [-1, 2]
        case "rank":
            tensor.shape[:] = [2]
        case "missing":
            del request.inputs[:], request.raw_input_contents[:]
        case "value":
            request = new("ModelInferRequest")
            request.model_name = "echo-uint16"
            tensor = request.inputs.add(name="x", datatype="UINT16", shape=[1, 2])
            tensor.contents.uint_contents.extend([1, 65536])
        case "raw only":
            request = new("ModelInferRequest")
            request.model_name = "echo-fp16"
            tensor = request.inputs.add(name="x", datatype="FP16", shape=[1, 2])
            tensor.contents.fp32_contents.extend([1, 2])
    return request


@pytest.mark.parametrize(
    "kind",
    ["mixed", "count", "size", "datatype", "negative", "rank", "missing", "value", "raw only"],
)
async def test_tensors_that_do_not_fit_are_refused_unsent(
    router: RunningRouter, endpoint: ScriptedEndpoint, kind: str
) -> None:
    request = broken(kind)
    with pytest.raises(InvalidRequest):
        await infer(router, request)
    assert endpoint.seen == []
    (counts,) = await router.client.statistics(request.model_name)
    assert counts.failed == {"INVALID_REQUEST": 1}


async def test_unknown_models_and_versions_are_not_found(router: RunningRouter) -> None:
    request = echo_request(np.zeros((1, 2), np.float32), "FP32")
    request.model_version = "9"
    with pytest.raises(NotFound):
        await infer(router, request)
    request.model_name = "none"
    with pytest.raises(NotFound):
        await infer(router, request)
    with pytest.raises(NotFound), client_errors():
        await router.oip.ModelMetadata(_named("ModelMetadataRequest", "none"))
    ready = await router.oip.ModelReady(_named("ModelReadyRequest", "none"))
    assert not ready.ready


def _named(message: str, name: str) -> OipMessage:
    request = new(message)
    request.name = name
    return request


async def test_what_a_model_does_not_take_is_unsupported(router: RunningRouter) -> None:
    request = new("ModelInferRequest")
    request.model_name = "pictures"
    with pytest.raises(Unsupported, match="use Infer"):
        await infer(router, request)
    request = echo_request(np.zeros((1, 2), np.float32), "FP32")
    request.inputs[0].parameters["shared_memory_region"].string_param = "region"
    with pytest.raises(Unsupported, match="shared memory"):
        await infer(router, request)
    index = new("RepositoryIndexRequest")
    index.repository_name = "models"
    with pytest.raises(Unsupported, match="named repositories"), client_errors():
        await router.oip.RepositoryIndex(index)


async def test_classes_are_an_outputs_largest_elements_with_their_labels(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    request = new("ModelInferRequest")
    request.model_name = "det"
    fill_request(request, [("x", np.array([[1, 4, 2, 4], [0, -1, 3, 2]], np.float32))])
    request.outputs.add(name="y").parameters["classification"].int64_param = 2
    response = await infer(router, request)
    assert (response.outputs[0].datatype, list(response.outputs[0].shape)) == ("BYTES", [2, 2])
    assert output_arrays(response)["y"].tolist() == [
        [b"4.000000:1:dog", b"4.000000:3"],
        [b"3.000000:2", b"2.000000:3"],
    ]
    request.outputs[0].parameters["classification"].int64_param = 0
    with pytest.raises(InvalidRequest, match="number of classes"):
        await infer(router, request)
    assert len(endpoint.seen) == 1


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("triton_anything", "bool_param", True),
        ("triton_enable_empty_final_response", "string_param", "yes"),
        ("sm_unknown", "string_param", "a"),
        ("sm_session_id", "string_param", "no token"),
        ("sm_session_id", "string_param", "key:id with blanks"),
        ("sm_target_model", "string_param", ""),
        ("sequence_id", "bool_param", True),
        ("sequence_start", "int64_param", 1),
        ("sequence_end", "bool_param", True),
        ("timeout", "string_param", "1s"),
        ("priority", "double_param", 1.0),
    ],
)
async def test_a_reserved_parameter_of_another_kind_is_refused_unsent(
    router: RunningRouter, endpoint: ScriptedEndpoint, name: str, kind: str, value: object
) -> None:
    request = echo_request(np.zeros((1, 2), np.float32), "FP32")
    setattr(request.parameters[name], kind, value)
    with pytest.raises(InvalidRequest, match=r"parameters\["):
        await infer(router, request)
    assert endpoint.seen == []


async def test_parameters_reach_the_model(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    request = echo_request(np.zeros((1, 2), np.float32), "FP32")
    request.parameters["threshold"].double_param = 0.25
    request.parameters["priority"].uint64_param = 2
    request.parameters["binary_data_output"].bool_param = True
    await infer(router, request)
    (seen,) = endpoint.seen
    size = int(seen.headers["Content-Type"].rpartition("=")[2])
    assert json.loads(seen.body[:size])["parameters"] == {"threshold": 0.25, "priority": 2}


async def test_the_configuration_leaves_the_batch_out_of_the_shapes(
    router: RunningRouter,
) -> None:
    response = await router.oip.ModelConfig(_named("ModelConfigRequest", "det"))
    config = response.config
    assert config.max_batch_size == 8
    assert list(config.input[0].dims) == [4]
    assert config.input[0].data_type == enum_number("DataType", "TYPE_FP32")
    response = await router.oip.ModelConfig(_named("ModelConfigRequest", "echo-bytes"))
    assert list(response.config.output[0].dims) == [-1, 2]
    assert response.config.output[0].data_type == enum_number("DataType", "TYPE_STRING")


async def stream(
    router: RunningRouter,
    requests: AsyncIterator[OipMessage],
    metadata: tuple[tuple[str, str], ...] = (),
) -> list[OipMessage]:
    with client_errors():
        call = router.oip.ModelStreamInfer(requests, timeout=20, metadata=metadata)
        return [response async for response in call]


async def requests_of(count: int, bad: int = -1) -> AsyncIterator[OipMessage]:
    for number in range(count):
        array = np.full((1, 2), number, np.float32)
        request = echo_request(array, "FP32", request_id=str(number))
        if number == bad:
            request.model_name = "none"
        yield request


async def test_a_stream_answers_in_order_with_errors_in_band(router: RunningRouter) -> None:
    got = await stream(router, requests_of(20, bad=7))
    assert [response.infer_response.id for response in got] == [str(each) for each in range(20)]
    assert [bool(response.error_message) for response in got] == [each == 7 for each in range(20)]
    assert struct.unpack("<2f", got[9].infer_response.raw_output_contents[0]) == (9.0, 9.0)


async def test_errors_are_the_streams_status_when_the_client_says_so(
    router: RunningRouter,
) -> None:
    async def up_to_the_bad_one() -> AsyncIterator[OipMessage]:
        async for request in requests_of(8, bad=7):
            yield request
        # gRPC's Python client takes a write that meets the end of the call for its status.
        await asyncio.Event().wait()

    with pytest.raises(NotFound):
        await stream(router, up_to_the_bad_one(), (("triton_grpc_error", "true"),))


async def test_a_streams_requests_run_at_once_up_to_the_window(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    hold = asyncio.Event()
    endpoint.hold = hold
    waiting = asyncio.ensure_future(stream(router, requests_of(10)))
    await eventually(lambda: endpoint.in_flight == 4)
    hold.set()
    assert len(await waiting) == 10
    assert endpoint.peak == 4


async def test_reflection_and_health_know_both_services(router: RunningRouter) -> None:
    async with grpc.aio.insecure_channel(router.address) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        for service in ("inference.GRPCInferenceService", "simcloud.v1.InferenceRouterService"):
            answer = await check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        reflect = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        for symbol in ("inference.ModelInferRequest", "simcloud.v1.InferRequest"):
            asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
            call = reflect(iter([asked]))
            (found,) = [each async for each in call]
            assert found.file_descriptor_response.file_descriptor_proto


async def test_no_answer_of_the_endpoint_fails_the_process(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    endpoint.respond = lambda seen: Reply(200, seen.body[::-1], dict(seen.headers))
    with pytest.raises(SimcloudError):
        await infer(router, echo_request(np.zeros((1, 2), np.float32), "FP32"))
    endpoint.respond = lambda seen: echo(seen.body, seen.headers["Content-Type"])
    await infer(router, echo_request(np.zeros((1, 2), np.float32), "FP32"))
