"""Messages of the Open Inference Protocol to the router's types and back; pure.

Their classes are made at run time from a private descriptor pool, so they have no static type.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from simcloud.errors import InvalidRequest, Unsupported
from simcloud.oip.pool import OipMessage, enum_number
from simcloud.oip.tensors import fill_response, input_tensors, new
from simcloud.records import record
from simcloud_inference_router.catalog import ModelEntry, TensorSignature
from simcloud_inference_router.codecs.base import Parameter, TensorAnswer, TensorRequest
from simcloud_inference_router.request_parameters import (
    FINAL_RESPONSE,
    Asked,
    ReadParameters,
    read_parameters,
)
from simcloud_inference_router.sequences import is_stateful
from simcloud_inference_router.signature import check_outputs
from simcloud_inference_router.statistics import Duration, ModelCounts

MICROSECONDS = 1_000_000
"""In a second."""

_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
"""A version that is the same as a number, of 64 bits with a sign."""

_CLASSIFICATION = "classification"
_SHARED_MEMORY = "shared_memory_region"

_NO_PARAMETERS = ReadParameters()
_NO_CLASSES: Mapping[str, int] = {}


@record
class WireRequest:
    """A ModelInferRequest, read."""

    tensors: TensorRequest
    asked: Asked
    classes: Mapping[str, int]
    """How many of its largest elements are wanted of an output, by name; of the others all."""


def request_from_wire(model: ModelEntry, message: OipMessage) -> WireRequest:
    """A ModelInferRequest.

    Raises:
        InvalidRequest: contents, datatypes, shapes or sizes don't fit each other, an output is not
            the model's, or a parameter is reserved.
        Unsupported: a parameter asks for an extension that there isn't.
    """
    # Each attribute of a message is made anew: once; and most requests name no outputs.
    outputs = message.outputs
    for tensors in (message.inputs, outputs):
        for tensor in tensors:
            if (parameters := tensor.parameters) and _SHARED_MEMORY in parameters:
                raise Unsupported(
                    f"{tensor.name}: shared memory is not supported; send the tensors"
                )
    read = _NO_PARAMETERS
    if message.parameters:
        read = read_parameters(parameters_from_wire(message.parameters))
    request = TensorRequest(
        inputs=tuple(input_tensors(message)),
        outputs=check_outputs(model, [output.name for output in outputs] if outputs else ()),
        id=message.id,
        parameters=read.model,
    )
    return WireRequest(request, read.asked, _classes(outputs) if outputs else _NO_CLASSES)


def _classes(outputs: Iterable[OipMessage]) -> dict[str, int]:
    classes: dict[str, int] = {}
    for output in outputs:
        if (parameters := output.parameters) and _CLASSIFICATION in parameters:
            count = parameters[_CLASSIFICATION].int64_param
            if count < 1:
                field = f"outputs[{output.name}].parameters[{_CLASSIFICATION}]"
                raise InvalidRequest(field, f"expected a number of classes, found {count}")
            classes[output.name] = count
    return classes


def parameters_from_wire(found: Mapping[str, OipMessage]) -> dict[str, Parameter]:
    """Values of InferParameters by name; those without a value are left out."""
    values: dict[str, Parameter] = {}
    for name, parameter in found.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is not None:
            values[name] = getattr(parameter, choice)
    return values


def fill_answer(
    response: OipMessage,
    *,
    model: ModelEntry,
    request: OipMessage,
    answer: TensorAnswer,
    final: bool | None = None,
) -> None:
    """Fills the empty ModelInferResponse to a request; always with raw contents.

    Args:
        response: what is filled.
        model: who answers.
        request: what is answered.
        answer: with what.
        final: whether it is the request's last answer, as a parameter; None leaves it out.
    """
    response.model_name = model.name
    response.model_version = request.model_version or model.versions[0]
    response.id = request.id
    for name, value in answer.parameters.items():
        _set_parameter(response.parameters[name], value)
    if final is not None:
        response.parameters[FINAL_RESPONSE].bool_param = final
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
    _fill_versions(config.version_policy, model.versions)
    batching = model.dynamic_batching
    if batching is not None:
        config.dynamic_batching.preferred_batch_size.extend(batching.preferred_batch_size)
        delay = batching.max_queue_delay_microseconds
        config.dynamic_batching.max_queue_delay_microseconds = delay
    elif is_stateful(model):
        idle = round(model.session.ttl_s * MICROSECONDS)
        config.sequence_batching.max_sequence_idle_microseconds = idle
    config.model_transaction_policy.decoupled = model.decoupled
    for field, tensors in ((config.input, model.inputs), (config.output, model.outputs)):
        for tensor in tensors:
            field.add(
                name=tensor.name,
                data_type=_data_type(tensor),
                dims=tensor.shape[1:] if model.max_batch_size else tensor.shape,
            )
    return response


def statistics_to_wire(name: str, version: str, counts: ModelCounts) -> OipMessage:
    """One ModelStatistics: of one version of a model."""
    statistics = new("ModelStatistics")
    statistics.name = name
    statistics.version = version
    statistics.last_inference = counts.last_inference_ms
    statistics.inference_count = counts.inferences
    statistics.execution_count = counts.executions
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
        case int() if value >= 2**63:
            message.uint64_param = value
        case int():
            message.int64_param = value
        case float():
            message.double_param = value
        case str():
            message.string_param = value


def _fill_versions(policy: Any, versions: Iterable[str]) -> None:
    # Versions are names here and numbers there.
    if all(_NUMBER.fullmatch(each) for each in versions):
        policy.specific.versions.extend(int(each) for each in versions)
    else:
        policy.all.SetInParent()


def _data_type(tensor: TensorSignature) -> int:
    # The model configuration calls BYTES by its older name.
    name = "STRING" if tensor.datatype == "BYTES" else tensor.datatype
    return enum_number("DataType", f"TYPE_{name}")


def _fill_duration(message: Any, duration: Duration) -> None:
    message.count = duration.count
    message.ns = duration.ns
