"""How tensors and pictures travel to a model, and its answers back."""

from __future__ import annotations

from simcloud_inference_router.catalog import ModelEntry
from simcloud_inference_router.codecs.base import TensorCodec
from simcloud_inference_router.codecs.csv_rows import Csv
from simcloud_inference_router.codecs.instances_json import InstancesJson
from simcloud_inference_router.codecs.json_v2 import JsonV2
from simcloud_inference_router.codecs.npy import Npy
from simcloud_inference_router.codecs.triton_binary import TritonBinary
from simcloud_inference_router.codecs.whole_body import WholeBody


def tensor_codec(model: ModelEntry) -> TensorCodec | None:
    """The codec that a model's tensors travel by; None when it takes none."""
    match model.tensor_codec:
        case "triton_binary":
            return TritonBinary()
        case "json_v2":
            return JsonV2()
        case "npy":
            return Npy(output=model.outputs[0].name)
        case "instances_json":
            return InstancesJson(outputs=model.outputs)
        case "csv":
            return Csv(output=model.outputs[0])
        case "bytes":
            return WholeBody(
                output=model.outputs[0],
                media_type=model.media_type,
                accept=model.accept,
            )
        case None:
            return None
