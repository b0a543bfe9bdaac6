"""Triton's model repository: what the network itself says, read without running it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml
from google.protobuf import text_format
from onnx import TensorProto, helper

from simcloud.errors import InvalidRequest
from simcloud.oip.pool import enum_number, messages
from simcloud_cli.endpoints.onnx_signature import NetworkTensor, read_signature
from simcloud_cli.endpoints.triton import repository, triton_entry
from simcloud_cli.model_catalog import model_entry, read_models, weights_folder
from simcloud_inference_router.catalog import load_catalog

NANODET = weights_folder() / "nanodet_g_416.onnx"


def network(path: Path, *, batch: str | int = "n", kind: int = TensorProto.FLOAT) -> Path:
    """A network that answers its input."""
    tensor = helper.make_tensor_value_info("x", kind, [batch, 3])
    out = helper.make_tensor_value_info("y", kind, [batch, 3])
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        # Before IR version 4 weights were inputs too.
        [tensor, helper.make_tensor_value_info("w", TensorProto.FLOAT, [1])],
        [out],
        initializer=[weight],
    )
    onnx.save(helper.make_model(graph), path)
    return path


def test_the_signature_is_the_networks(tmp_path: Path) -> None:
    found = read_signature(network(tmp_path / "n.onnx"))
    assert found.inputs == (NetworkTensor("x", "FP32", (-1, 3)),)
    assert found.outputs == (NetworkTensor("y", "FP32", (-1, 3)),)


def test_the_signature_agrees_with_onnx_on_the_packaged_weights() -> None:
    found = read_signature(NANODET)
    graph = onnx.load(str(NANODET)).graph
    assert [tensor.name for tensor in found.inputs] == [item.name for item in graph.input]
    assert [tensor.name for tensor in found.outputs] == [item.name for item in graph.output]
    assert found.inputs[0].shape == (-1, 3, 416, 416)


def test_a_batch_that_varies_is_tritons_batch(tmp_path: Path) -> None:
    files, _ = repository("m", network(tmp_path / "n.onnx"))
    assert sorted(files) == ["m/1/model.onnx", "m/config.pbtxt"]
    config = files["m/config.pbtxt"]
    assert isinstance(config, bytes)
    assert config.decode() == (
        'name: "m"\nbackend: "onnxruntime"\nmax_batch_size: 16\n'
        'input {\n  name: "x"\n  data_type: TYPE_FP32\n  dims: [ 3 ]\n}\n'
        'output {\n  name: "y"\n  data_type: TYPE_FP32\n  dims: [ 3 ]\n}\n'
        "dynamic_batching { }\n"
    )


def test_the_configuration_is_one_by_tritons_own_message(tmp_path: Path) -> None:
    files, signature = repository("m", NANODET)
    config = files["m/config.pbtxt"]
    assert isinstance(config, bytes)
    # `dynamic_batching` is a field of Triton's that the Open Inference Protocol's subset has not.
    found: Any = text_format.Parse(
        config.decode(), messages()["ModelConfig"](), allow_unknown_field=True
    )
    assert (found.name, found.backend, found.max_batch_size) == ("m", "onnxruntime", 16)
    (given,) = found.input
    assert (given.name, list(given.dims)) == ("input", [3, 416, 416])
    assert given.data_type == enum_number("DataType", "TYPE_FP32")
    assert [(tensor.name, tuple(tensor.dims)) for tensor in found.output] == [
        (tensor.name, tensor.shape[1:]) for tensor in signature.outputs
    ]


def test_the_router_reads_the_entry_of_the_network_alone(tmp_path: Path) -> None:
    entry = model_entry("nanodet-g", read_models(NANODET.parent)["nanodet-g"], NANODET.parent)
    network_alone = triton_entry(entry, read_signature(NANODET))
    assert network_alone["digest"] != entry["digest"]
    target = {"name": "t", "kind": "sagemaker", "endpoint": "t"}
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(yaml.safe_dump({"models": [{**network_alone, "targets": [target]}]}))
    model = load_catalog(catalog).model("nanodet-g")
    assert [tensor.name for tensor in model.inputs] == ["input"]
    assert model.picture_codec is None


def test_a_fixed_batch_is_a_dimension(tmp_path: Path) -> None:
    files, signature = repository("m", network(tmp_path / "n.onnx", batch=2))
    config = files["m/config.pbtxt"]
    assert isinstance(config, bytes)
    assert "max_batch_size: 0" in config.decode()
    assert "dims: [ 2, 3 ]" in config.decode()
    entry = triton_entry({"name": "m", "versions": ["1"], "digest": "0" * 64}, signature)
    assert entry["max_batch_size"] == 0


def test_what_is_no_network_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "n.onnx"
    broken.write_bytes(b"\xff\xff\xff")
    with pytest.raises(InvalidRequest, match="not an ONNX"):
        read_signature(broken)
    broken.write_bytes(b"")
    with pytest.raises(InvalidRequest, match="no inputs or no outputs"):
        read_signature(broken)


def test_a_type_that_clients_have_not_is_refused(tmp_path: Path) -> None:
    path = network(tmp_path / "n.onnx", kind=TensorProto.COMPLEX64)
    with pytest.raises(InvalidRequest, match="tensor x"):
        read_signature(path)
