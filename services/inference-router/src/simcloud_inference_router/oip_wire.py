"""Messages of the Open Inference Protocol to the router's types and back; pure.

Their classes are made at run time from a private descriptor pool, so they have no static type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simcloud.errors import Unsupported
from simcloud.oip.pool import OipMessage, enum_number
from simcloud.oip.tensors import fill_response, input_tensors, new
from simcloud_inference_router.catalog import ModelEntry, TensorSignature
from simcloud_inference_router.codecs.base import Parameter, TensorAnswer, TensorRequest
from simcloud_inference_router.signature import check_outputs
from simcloud_inference_router.statistics import Duration, ModelCounts

FINAL_RESPONSE_WANTED = "triton_enable_empty_final_response"
FINAL_RESPONSE = "triton_final_response"

# What concerns the wire between the client and us; the model has no use for it.
_OURS = frozenset({FINAL_RESPONSE_WANTED, "binary_data_output"})

_UNSUPPORTED = {
    "classification": "the classification extension is not supported; read the output itself",
    "shared_memory_region": "shared memory is not supported; send the tensors",
}
"""Parameters of tensors that ask for what can't be done here."""


def request_from_wire(model: ModelEntry, message: OipMessage) -> TensorRequest:
    """A ModelInferRequest.

    Raises:
        InvalidRequest: contents, datatypes, shapes or sizes don't fit each other, or an output is
            not the model's.
        Unsupported: a parameter asks for an extension that there isn't.
    """
    for tensor in (*message.inputs, *message.outputs):
        if parameters := tensor.parameters:
            for name, why in _UNSUPPORTED.items():
                if name in parameters:
                    raise Unsupported(f"{tensor.name}: {why}")
    parameters = parameters_from_wire(message.parameters)
    return TensorRequest(
        inputs=tuple(input_tensors(message)),
        outputs=check_outputs(model, [output.name for output in message.outputs]),
        id=message.id,
        parameters={name: value for name, value in parameters.items() if name not in _OURS},
    )


def parameters_from_wire(found: Mapping[str, OipMessage]) -> dict[str, Parameter]:
    """Values of InferParameters by name; those without a value are left out."""
    values: dict[str, Parameter] = {}
    for name, parameter in found.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is not None:
            values[name] = getattr(parameter, choice)
    return values


def fill_answer(
    response: OipMessage, *, model: ModelEntry, request: OipMessage, answer: TensorAnswer
) -> None:
    """Fills the empty ModelInferResponse to a request; always with raw contents."""
    response.model_name = model.name
    response.model_version = request.model_version or model.versions[0]
    response.id = request.id
    for name, value in answer.parameters.items():
        _set_parameter(response.parameters[name], value)
    if FINAL_RESPONSE_WANTED in request.parameters:
        # A model here answers once: that one is the last.
        response.parameters[FINAL_RESPONSE].bool_param = True
    fill_response(response, answer.outputs)


def metadata_to_wire(model: ModelEntry) -> OipMessage:
    """ModelMetadataResponse."""
    response = new("ModelMetadataResponse")
    response.name = model.name
    response.versions.extend(model.versions)
    response.platform = model.targets[0].kind
    for field, tensors in ((response.inputs, model.inputs), (response.outputs, model.outputs)):
        for tensor in tensors:
            field.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    return response


def config_to_wire(model: ModelEntry) -> OipMessage:
    """ModelConfigResponse; shapes without the batch dimension where there is one."""
    response = new("ModelConfigResponse")
    config = response.config
    config.name = model.name
    config.platform = model.targets[0].kind
    config.max_batch_size = model.max_batch_size
    config.model_transaction_policy.decoupled = False
    for field, tensors in ((config.input, model.inputs), (config.output, model.outputs)):
        for tensor in tensors:
            field.add(
                name=tensor.name,
                data_type=_data_type(tensor),
                dims=tensor.shape[1:] if model.max_batch_size else tensor.shape,
            )
    return response


def statistics_to_wire(model: ModelEntry, counts: ModelCounts) -> OipMessage:
    """One ModelStatistics."""
    statistics = new("ModelStatistics")
    statistics.name = model.name
    statistics.version = model.versions[0]
    statistics.last_inference = counts.last_inference_ms
    statistics.inference_count = counts.inferences
    statistics.execution_count = counts.succeeded
    stages = statistics.inference_stats
    _fill_duration(stages.success, counts.success)
    _fill_duration(stages.fail, counts.fail)
    _fill_duration(stages.queue, counts.queue)
    _fill_duration(stages.compute_input, counts.encode)
    _fill_duration(stages.compute_infer, counts.target)
    _fill_duration(stages.compute_output, counts.decode)
    for size, batch in sorted(counts.batches.items()):
        entry = statistics.batch_stats.add(batch_size=size)
        _fill_duration(entry.compute_input, batch.encode)
        _fill_duration(entry.compute_infer, batch.target)
        _fill_duration(entry.compute_output, batch.decode)
    return statistics


def _set_parameter(message: Any, value: Parameter) -> None:
    match value:
        case bool():
            message.bool_param = value
        case int():
            message.int64_param = value
        case float():
            message.double_param = value
        case str():
            message.string_param = value


def _data_type(tensor: TensorSignature) -> int:
    # The model configuration calls BYTES by its older name.
    name = "STRING" if tensor.datatype == "BYTES" else tensor.datatype
    return enum_number("DataType", f"TYPE_{name}")


def _fill_duration(message: Any, duration: Duration) -> None:
    message.count = duration.count
    message.ns = duration.ns
