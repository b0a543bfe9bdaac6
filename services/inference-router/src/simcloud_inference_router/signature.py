"""Tensors against a model's signature: names, datatypes, shapes, sizes; pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from simcloud.errors import InvalidRequest
from simcloud.oip.tensors import Tensor, check_raw, has_size
from simcloud_inference_router.catalog import ModelEntry, TensorSignature
from simcloud_inference_router.codecs.base import MalformedAnswer


def check_inputs(model: ModelEntry, inputs: Sequence[Tensor]) -> int:
    """Checks a request's inputs, whose sizes are right already (``oip.tensors.input_tensors``).

    Returns:
        Batch size: the first dimension; 1 for a model without batches.

    Raises:
        InvalidRequest: an input is missing, unknown, given twice, or not as the signature says.
    """
    known = {tensor.name: tensor for tensor in model.inputs}
    seen: set[str] = set()
    for tensor in inputs:
        signature = known.get(tensor.name)
        if signature is None:
            problem = f"model {model.name} has no such input; it has: {', '.join(known)}"
            raise InvalidRequest(f"inputs[{tensor.name}]", problem)
        if tensor.name in seen:
            raise InvalidRequest(f"inputs[{tensor.name}]", "was given twice")
        seen.add(tensor.name)
        if not _matches(signature, tensor):
            raise _mismatch(f"inputs[{tensor.name}]", signature, tensor)
    if len(seen) != len(known) and (missing := known.keys() - seen):
        raise InvalidRequest("inputs", f"model {model.name} also needs: {', '.join(missing)}")
    return _batch_size(model, inputs)


def check_outputs(model: ModelEntry, names: Sequence[str]) -> tuple[str, ...]:
    """The outputs wanted: those named, or all.

    Raises:
        InvalidRequest: the model has no such output, or it was named twice.
    """
    known = tuple([tensor.name for tensor in model.outputs])
    if not names:
        return known
    for name in names:
        if name not in known:
            problem = f"model {model.name} has no output {name!r}; it has: {', '.join(known)}"
            raise InvalidRequest("outputs", problem)
    if len(set(names)) != len(names):
        raise InvalidRequest("outputs", f"names an output twice: {', '.join(names)}")
    return tuple(names)


def select_outputs(
    model: ModelEntry, outputs: Sequence[Tensor], wanted: Sequence[str]
) -> tuple[Tensor, ...]:
    """The wanted outputs of an answer, in the order in which they were asked for.

    Raises:
        MalformedAnswer: one is missing, or has another datatype or size than its shape says.
    """
    found = {tensor.name: tensor for tensor in outputs}
    signatures = {tensor.name: tensor for tensor in model.outputs}
    selected: list[Tensor] = []
    for name in wanted:
        tensor = found.get(name)
        if tensor is None:
            raise MalformedAnswer(f"output {name} is missing; found: {', '.join(found) or 'none'}")
        if not _matches(signatures[name], tensor):
            mismatch = _mismatch(name, signatures[name], tensor)
            raise MalformedAnswer(f"output {mismatch.message}")
        datatype, shape = tensor.datatype, tensor.shape
        if not has_size(tensor.data, datatype=datatype, shape=shape):
            try:
                check_raw(tensor.data, datatype=datatype, shape=shape, field=name)
            except InvalidRequest as exc:
                raise MalformedAnswer(f"output {exc.message}") from exc
        selected.append(tensor)
    return tuple(selected)


def _matches(signature: TensorSignature, tensor: Tensor) -> bool:
    expected, found = signature.shape, tensor.shape
    same = tensor.datatype == signature.datatype and len(expected) == len(found)
    return same and _fits(expected, found)


def _mismatch(where: str, signature: TensorSignature, tensor: Tensor) -> InvalidRequest:
    if tensor.datatype != signature.datatype:
        problem = f"expected datatype {signature.datatype}, found {tensor.datatype}"
    else:
        expected = str(list(signature.shape))
        problem = f"expected shape {expected} (-1 is any size), found {list(tensor.shape)}"
    return InvalidRequest(where, problem)


# Both come from the catalogue and from requests that repeat themselves.
@lru_cache(1024)
def _fits(expected: tuple[int, ...], found: tuple[int, ...]) -> bool:
    return all(
        size >= 0 and wanted in {-1, size} for wanted, size in zip(expected, found, strict=True)
    )


def _batch_size(model: ModelEntry, inputs: Sequence[Tensor]) -> int:
    if not model.max_batch_size:
        return 1
    sizes = {tensor.shape[0] for tensor in inputs}
    if len(sizes) != 1:
        raise InvalidRequest("inputs", f"first dimensions differ: {sorted(sizes)}")
    size = sizes.pop()
    if not 1 <= size <= model.max_batch_size:
        problem = f"batch size {size} is not within 1 to {model.max_batch_size}"
        raise InvalidRequest("inputs", problem)
    return size
