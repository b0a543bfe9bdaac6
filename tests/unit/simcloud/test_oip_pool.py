from __future__ import annotations

import pytest
from google.protobuf import descriptor_pool

from simcloud.oip.pool import SERVICE_NAME, enum_number, messages, pool
from simcloud.oip.service import METHODS


def test_the_protocol_is_not_in_the_default_pool() -> None:
    assert messages()
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindServiceByName(SERVICE_NAME)
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("inference.ModelInferRequest")


def test_methods_are_those_that_unmodified_clients_call() -> None:
    assert set(METHODS) == {
        "ServerLive",
        "ServerReady",
        "ModelReady",
        "ServerMetadata",
        "ModelMetadata",
        "ModelInfer",
        "ModelStreamInfer",
        "ModelConfig",
        "ModelStatistics",
        "RepositoryIndex",
    }
    assert METHODS["ModelInfer"].path == "/inference.GRPCInferenceService/ModelInfer"
    assert [method.name for method in METHODS.values() if method.streaming] == ["ModelStreamInfer"]


def test_field_numbers_are_as_published() -> None:
    # kserve/open-inference-protocol, open_inference_grpc.proto.
    fields = {
        "ModelInferRequest": {"model_name": 1, "id": 3, "inputs": 5, "raw_input_contents": 7},
        "ModelInferRequest.InferInputTensor": {"name": 1, "datatype": 2, "shape": 3, "contents": 5},
        "ModelInferResponse": {"model_name": 1, "id": 3, "outputs": 5, "raw_output_contents": 6},
        "InferParameter": {"bool_param": 1, "int64_param": 2, "string_param": 3, "uint64_param": 5},
        "ModelStreamInferResponse": {"error_message": 1, "infer_response": 2},
    }
    for name, numbers in fields.items():
        by_name = messages()[name].DESCRIPTOR.fields_by_name
        assert {field: by_name[field].number for field in numbers} == numbers


def test_enums_are_known_by_name() -> None:
    assert enum_number("DataType", "TYPE_FP32") == 11
    with pytest.raises(KeyError):
        enum_number("DataType", "TYPE_FP8")


def test_the_pool_holds_the_protocol_alone() -> None:
    with pytest.raises(KeyError):
        pool().FindServiceByName("simcloud.v1.UploaderService")
