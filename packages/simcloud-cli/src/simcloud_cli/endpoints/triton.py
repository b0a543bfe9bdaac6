"""A Triton model repository of one network: `<model>/config.pbtxt` and `<model>/1/model.onnx`.

The network alone: its tensors are the network's own, and what our container does before and after
it is the caller's. Layout and fields: Triton's "Model Repository" and "Model Configuration".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from simcloud.errors import InvalidRequest
from simcloud_cli.endpoints.onnx_signature import NetworkSignature, NetworkTensor, read_signature

MAX_BATCH = 16
"""Pictures of one request, as our container takes them."""
_TRITON_TYPES: Mapping[str, str] = {"BYTES": "TYPE_STRING"}


def repository(name: str, network: Path) -> tuple[dict[str, Path | bytes], NetworkSignature]:
    """The repository's files by name, and the network's tensors.

    Raises:
        InvalidRequest: the file is no network that Triton could batch or serve.
    """
    signature = read_signature(network)
    config = _config(name, signature, where=str(network)).encode()
    return {f"{name}/1/model.onnx": network, f"{name}/config.pbtxt": config}, signature


def triton_entry(entry: Mapping[str, object], signature: NetworkSignature) -> dict[str, object]:
    """The router's catalogue entry of the network alone, from that of the whole model.

    Its digest differs, because what comes out is not what the whole model answers; nothing takes
    pictures, and labels have no meaning for it.
    """
    digest = hashlib.sha256(f"{entry['digest']} network".encode()).hexdigest()
    return {
        "name": entry["name"],
        "versions": entry["versions"],
        "task": "tensors",
        "digest": digest,
        "inputs": [_as_entry(tensor) for tensor in signature.inputs],
        "outputs": [_as_entry(tensor) for tensor in signature.outputs],
        "max_batch_size": MAX_BATCH if _batched(signature) else 0,
        "tensor_codec": "triton_binary",
        "picture_codec": None,
    }


def _config(name: str, signature: NetworkSignature, *, where: str) -> str:
    for tensor in (*signature.inputs, *signature.outputs):
        if not tensor.shape:
            raise InvalidRequest(
                where, f"tensor {tensor.name} is a scalar, which Triton's configuration can't say"
            )
    batched = _batched(signature)
    lines = [
        f"name: {json.dumps(name)}",
        'backend: "onnxruntime"',
        f"max_batch_size: {MAX_BATCH if batched else 0}",
        *_tensors("input", signature.inputs, batched=batched),
        *_tensors("output", signature.outputs, batched=batched),
    ]
    if batched:
        lines.append("dynamic_batching { }")
    return "\n".join(lines) + "\n"


def _tensors(what: str, tensors: Sequence[NetworkTensor], *, batched: bool) -> list[str]:
    lines = []
    for tensor in tensors:
        kind = _TRITON_TYPES.get(tensor.datatype, f"TYPE_{tensor.datatype}")
        dims = ", ".join(str(size) for size in tensor.shape[batched:])
        lines += [
            f"{what} {{",
            f"  name: {json.dumps(tensor.name)}",
            f"  data_type: {kind}",
            f"  dims: [ {dims} ]",
            "}",
        ]
    return lines


def _batched(signature: NetworkSignature) -> bool:
    """Whether every tensor's first dimension varies and others follow: Triton's batch."""
    tensors = (*signature.inputs, *signature.outputs)
    return all(len(tensor.shape) > 1 and tensor.shape[0] == -1 for tensor in tensors)


def _as_entry(tensor: NetworkTensor) -> dict[str, object]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
