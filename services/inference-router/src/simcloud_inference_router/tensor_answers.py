"""A target's answer as tensors of its model."""

from __future__ import annotations

from collections.abc import Sequence

from simcloud.oip.tensors import Tensor
from simcloud_inference_router.catalog import ModelEntry
from simcloud_inference_router.codecs.base import MalformedAnswer, TensorAnswer, TensorCodec
from simcloud_inference_router.signature import select_outputs
from simcloud_inference_router.targets.base import TargetAnswer


def read_answer(
    model: ModelEntry, codec: TensorCodec, answer: TargetAnswer, wanted: Sequence[str]
) -> TensorAnswer:
    """The wanted outputs of an answer, checked against the model's signature.

    Raises:
        MalformedAnswer: it is none of the codec's, or its tensors are not the model's.
    """
    decoded = codec.decode(answer.body, answer.content_type)
    outputs = select_outputs(model, decoded.outputs, wanted)
    return TensorAnswer(outputs, decoded.parameters)


def check_size(outputs: Sequence[Tensor], limit: int) -> None:
    """Checks that outputs can be sent on.

    JSON is shorter than the tensors it stands for: what could be read may be too large to be sent,
    which would end the caller's stream.

    Raises:
        MalformedAnswer: they are larger than ``limit`` bytes together.
    """
    size = sum(len(output.data) for output in outputs)
    if size > limit:
        raise MalformedAnswer(f"outputs are {size} bytes, at most {limit} are sent")
