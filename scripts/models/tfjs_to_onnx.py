"""Turns a TensorFlow.js graph model into ONNX with a dynamic batch dimension.

Needs numpy and onnx, no TensorFlow. Knows the operations of NanoDet-g; another one ends the
conversion with its name. TensorFlow computes in NHWC, ONNX in NCHW: each convolution, pooling and
resize is wrapped in two Transpose nodes, most of which onnxruntime removes when it loads the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tfjs_graph import Array, Node, TfjsGraph, tensor_name

OPSET = 17
IR_VERSION = 9
_NHWC_TO_NCHW = [0, 3, 1, 2]
_NCHW_TO_NHWC = [0, 2, 3, 1]


def convert(graph: TfjsGraph, *, name: str) -> onnx.ModelProto:
    """The ONNX model of `graph`, whose first dimension of every input and output is `n`.

    Raises:
        NotImplementedError: the graph has an operation that is not handled here.
        ValueError: an operation uses a mode that the translation does not cover.
    """
    model: onnx.ModelProto = _Conversion(graph).model(name)
    onnx.checker.check_model(model, full_check=True)
    return model


class _Conversion:
    """One conversion: the nodes and initializers made so far."""

    def __init__(self, graph: TfjsGraph) -> None:
        self._graph = graph
        self._constants: dict[str, Array] = dict(graph.weights)
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._made_names = 0
        self._handlers: dict[str, Callable[[Node], None]] = {
            "Add": self._add,
            "AddV2": self._add,
            "ConcatV2": self._concat,
            "Const": self._skip,
            "Conv2D": self._conv2d,
            "Identity": self._unary,
            "LeakyRelu": self._leaky_relu,
            "MaxPool": self._max_pool,
            "Pad": self._pad,
            "PadV2": self._pad,
            "Placeholder": self._skip,
            "Reshape": self._reshape,
            "ResizeBilinear": self._resize_bilinear,
            "Sigmoid": self._unary,
            "SparseToDense": self._sparse_to_dense,
            "SplitV": self._split,
            "Transpose": self._transpose,
        }

    def model(self, name: str) -> onnx.ModelProto:
        for node in self._graph.execution_order():
            handler = self._handlers.get(node.op)
            if handler is None:
                message = f"operation {node.op} of node {node.name} is not handled"
                raise NotImplementedError(message)
            handler(node)
        graph = helper.make_graph(
            self._nodes,
            name,
            _value_infos(self._graph.inputs),
            _value_infos(self._graph.outputs),
            list(self._initializers.values()),
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="simcloud",
        )

    def _fresh(self, base: str) -> str:
        self._made_names += 1
        return f"{base}__{self._made_names}"

    def _initializer(self, values: Array, base: str) -> str:
        name = self._fresh(base)
        self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def _tensor(self, reference: str) -> str:
        name = tensor_name(reference)
        if name in self._constants and name not in self._initializers:
            values = np.ascontiguousarray(self._constants[name])
            self._initializers[name] = numpy_helper.from_array(values, name)
        return name

    def _constant(self, reference: str) -> Array:
        return self._constants[tensor_name(reference)]

    def _emit(
        self, op: str, inputs: list[str], outputs: list[str], attributes: dict[str, Any]
    ) -> None:
        node = helper.make_node(op, inputs, outputs, name=self._fresh(op), **attributes)
        self._nodes.append(node)

    def _transposed(self, source: str, order: list[int], target: str | None = None) -> str:
        result = target or self._fresh("transposed")
        self._emit("Transpose", [source], [result], {"perm": order})
        return result

    def _skip(self, node: Node) -> None:
        """Constants and inputs make no node of their own."""

    def _sparse_to_dense(self, node: Node) -> None:
        """Shape arithmetic that the exporter left in the graph: folded here."""
        indices, shape, values, default = (self._constant(i) for i in node.inputs)
        dense = np.full([int(i) for i in shape.ravel()], default.ravel()[0])
        if indices.size:
            dense[tuple(np.atleast_2d(indices).T)] = values
        self._constants[node.name] = dense

    def _add(self, node: Node) -> None:
        if all(tensor_name(i) in self._constants for i in node.inputs):
            left, right = (self._constant(i) for i in node.inputs)
            self._constants[node.name] = left + right
            return
        self._emit("Add", [self._tensor(i) for i in node.inputs], [node.name], {})

    def _unary(self, node: Node) -> None:
        self._emit(node.op, [self._tensor(node.inputs[0])], [node.name], {})

    def _leaky_relu(self, node: Node) -> None:
        alpha = node.attributes.number("alpha", 0.2)
        self._emit("LeakyRelu", [self._tensor(node.inputs[0])], [node.name], {"alpha": alpha})

    def _pad(self, node: Node) -> None:
        pads = self._constant(node.inputs[1]).astype(np.int64)
        value = self._constant(node.inputs[2]).ravel()[0] if node.op == "PadV2" else 0
        inputs = [
            self._tensor(node.inputs[0]),
            self._initializer(np.concatenate([pads[:, 0], pads[:, 1]]), "pads"),
            self._initializer(np.asarray(value, np.float32), "value"),
        ]
        self._emit("Pad", inputs, [node.name], {"mode": "constant"})

    def _transpose(self, node: Node) -> None:
        order = [int(i) for i in self._constant(node.inputs[1])]
        self._transposed(self._tensor(node.inputs[0]), order, node.name)

    def _conv2d(self, node: Node) -> None:
        padding = node.attributes.text("padding", "")
        layout = node.attributes.text("data_format", "NHWC")
        if (layout, padding) != ("NHWC", "VALID"):
            message = f"{node.name}: expected NHWC and VALID, found {layout} and {padding}"
            raise ValueError(message)
        kernel = self._constant(node.inputs[1]).transpose(3, 2, 0, 1)  # HWIO to OIHW
        convolved = self._fresh("convolved")
        source = self._transposed(self._tensor(node.inputs[0]), _NHWC_TO_NCHW)
        attributes = {
            "kernel_shape": list(kernel.shape[2:]),
            "strides": node.attributes.integers("strides")[1:3],
            "dilations": (node.attributes.integers("dilations") or [1] * 4)[1:3],
        }
        self._emit("Conv", [source, self._initializer(kernel, "kernel")], [convolved], attributes)
        self._transposed(convolved, _NCHW_TO_NHWC, node.name)

    def _max_pool(self, node: Node) -> None:
        pooled = self._fresh("pooled")
        attributes = {
            "kernel_shape": node.attributes.integers("ksize")[1:3],
            "strides": node.attributes.integers("strides")[1:3],
        }
        source = self._transposed(self._tensor(node.inputs[0]), _NHWC_TO_NCHW)
        self._emit("MaxPool", [source], [pooled], attributes)
        self._transposed(pooled, _NCHW_TO_NHWC, node.name)

    def _resize_bilinear(self, node: Node) -> None:
        height, width = (int(i) for i in self._constant(node.inputs[1]))
        mode = "half_pixel" if node.attributes.flag("half_pixel_centers") else "asymmetric"
        source = self._transposed(self._tensor(node.inputs[0]), _NHWC_TO_NCHW)
        shape, kept, size, resized = (self._fresh(i) for i in ("shape", "kept", "size", "resized"))
        self._emit("Shape", [source], [shape], {})
        bounds = [self._initializer(np.array([i], np.int64), "bound") for i in (0, 2)]
        self._emit("Slice", [shape, *bounds], [kept], {})
        wanted = self._initializer(np.array([height, width], np.int64), "wanted")
        self._emit("Concat", [kept, wanted], [size], {"axis": 0})
        attributes = {"mode": "linear", "coordinate_transformation_mode": mode}
        self._emit("Resize", [source, "", "", size], [resized], attributes)
        self._transposed(resized, _NCHW_TO_NHWC, node.name)

    def _concat(self, node: Node) -> None:
        axis = int(self._constant(node.inputs[-1]).ravel()[0])
        self._emit(
            "Concat", [self._tensor(i) for i in node.inputs[:-1]], [node.name], {"axis": axis}
        )

    def _split(self, node: Node) -> None:
        sizes = self._constant(node.inputs[1]).astype(np.int64)
        axis = int(self._constant(node.inputs[2]).ravel()[0])
        outputs = [node.name, *(f"{node.name}:{i}" for i in range(1, len(sizes)))]
        inputs = [self._tensor(node.inputs[0]), self._initializer(sizes, "sizes")]
        self._emit("Split", inputs, outputs, {"axis": axis})

    def _reshape(self, node: Node) -> None:
        shape = self._constant(node.inputs[1]).astype(np.int64).copy()
        if shape[0] != 1:
            message = f"{node.name}: a batch of 1 was expected in the shape {shape.tolist()}"
            raise ValueError(message)
        # The exporter froze the batch at 1; in ONNX 0 means "as in the input", so the graph takes
        # any batch and another dimension may still be -1.
        shape[0] = 0
        inputs = [self._tensor(node.inputs[0]), self._initializer(shape, "shape")]
        self._emit("Reshape", inputs, [node.name], {})


def _value_infos(shapes: dict[str, list[int]]) -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape[1:]])
        for name, shape in shapes.items()
    ]
