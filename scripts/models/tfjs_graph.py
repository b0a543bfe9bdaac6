"""Reads a TensorFlow.js graph model: topology from JSON, weights from their binary file."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def tensor_name(reference: str) -> str:
    """TensorFlow writes output 0 of node `n` as `n:0`; the node's own name says the same."""
    return reference.removesuffix(":0")


@dataclass(frozen=True, slots=True)
class Attributes:
    """One node's attributes, as the protobuf-JSON of TensorFlow's `AttrValue` writes them."""

    raw: dict[str, Any]

    def integers(self, key: str) -> list[int]:
        """A list attribute such as `strides`; empty when absent."""
        return [int(i) for i in self.raw.get(key, {}).get("list", {}).get("i", [])]

    def text(self, key: str, default: str) -> str:
        """A string attribute, which protobuf-JSON stores in base64."""
        return base64.b64decode(self.raw[key]["s"]).decode() if key in self.raw else default

    def number(self, key: str, default: float) -> float:
        """A float attribute."""
        return float(self.raw[key]["f"]) if key in self.raw else default

    def flag(self, key: str) -> bool:
        """A bool attribute; false when absent, as in TensorFlow."""
        return bool(self.raw.get(key, {}).get("b", False))


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of the graph."""

    name: str
    op: str
    inputs: list[str]
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class TfjsGraph:
    """A whole graph model."""

    nodes: dict[str, Node]
    weights: dict[str, Array]
    inputs: dict[str, list[int]]
    outputs: dict[str, list[int]]

    def execution_order(self) -> list[Node]:
        """The nodes that the outputs need, each after its inputs (iterative: graphs are deep)."""
        order: dict[str, Node] = {}
        stack = [name.split(":")[0] for name in reversed(self.outputs)]
        while stack:
            name = stack[-1]
            node = self.nodes[name]
            waiting = [
                source
                for source in (i.split(":")[0] for i in node.inputs if not i.startswith("^"))
                if source not in order
            ]
            if waiting:
                stack.extend(waiting)
            else:
                order.setdefault(name, node)
                stack.pop()
        return list(order.values())


def read_tfjs_graph(model_json: Path) -> TfjsGraph:
    """Read `model_json` and the weight files that it names, which lie beside it.

    Quantized weights are returned in the type that the graph computes with.

    Raises:
        ValueError: the weight file's size is not what the manifest describes.
    """
    document = json.loads(model_json.read_text())
    weights: dict[str, Array] = {}
    for group in document["weightsManifest"]:
        data = b"".join((model_json.parent / path).read_bytes() for path in group["paths"])
        weights.update(_read_weights(group["weights"], data))
    nodes = {
        raw["name"]: Node(raw["name"], raw["op"], raw.get("input", []), Attributes(raw["attr"]))
        for raw in ({"attr": {}, **node} for node in document["modelTopology"]["node"])
    }
    signature = document["signature"]
    return TfjsGraph(
        nodes=nodes,
        weights=weights,
        inputs=_shapes(signature["inputs"]),
        outputs=_shapes(signature["outputs"]),
    )


def _read_weights(entries: list[dict[str, Any]], data: bytes) -> dict[str, Array]:
    weights: dict[str, Array] = {}
    offset = 0
    for entry in entries:
        quantization = entry.get("quantization") or {}
        stored = np.dtype(quantization.get("dtype", entry["dtype"]))
        count = int(np.prod(entry["shape"], dtype=np.int64))
        values: Array = np.frombuffer(data, stored, count, offset)
        offset += count * stored.itemsize
        if "scale" in quantization:
            values = values.astype(np.float32) * quantization["scale"] + quantization["min"]
        weights[entry["name"]] = values.astype(entry["dtype"]).reshape(entry["shape"])
    if offset != len(data):
        message = f"the manifest describes {offset} bytes of weights, the file has {len(data)}"
        raise ValueError(message)
    return weights


def _shapes(signature: dict[str, Any]) -> dict[str, list[int]]:
    return {
        tensor_name(key): [int(dim["size"]) for dim in value["tensorShape"]["dim"]]
        for key, value in signature.items()
    }
