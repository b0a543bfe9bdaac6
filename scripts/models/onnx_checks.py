"""Runs ONNX models beside each other and measures how far their answers are apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

Tensors = dict[str, npt.NDArray[np.float32]]


def run(model: onnx.ModelProto, inputs: npt.NDArray[np.float32]) -> Tensors:
    """All outputs of `model`, which has one input, by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: inputs}), strict=True))


def run_one_by_one(model: onnx.ModelProto, inputs: npt.NDArray[np.float32]) -> Tensors:
    """As `run`, but each item is a batch of its own."""
    answers = [run(model, inputs[i : i + 1]) for i in range(len(inputs))]
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def require_close(what: str, left: Tensors, right: Tensors, *, atol: float) -> None:
    """Print the largest difference of each output.

    Raises:
        ValueError: one is larger than `atol`.
    """
    for name, values in left.items():
        difference = float(np.abs(values - right[name]).max())
        print(f"{what}: {name} differs by at most {difference:.2e}")
        if not difference <= atol:
            message = f"{what}: output {name} differs by {difference}, allowed is {atol}"
            raise ValueError(message)


def renamed(model: onnx.ModelProto, names: dict[str, str]) -> onnx.ModelProto:
    """A copy of `model` in which tensors have the names given, and outputs that order."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for node in result.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for info in [*result.graph.input, *result.graph.output]:
        info.name = names.get(info.name, info.name)
    order = list(names.values())
    outputs = sorted(result.graph.output, key=lambda info: order.index(info.name))
    del result.graph.output[:]
    result.graph.output.extend(outputs)
    onnx.checker.check_model(result, full_check=True)
    return result
