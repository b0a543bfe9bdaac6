"""One network in onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from simcloud_model_container.errors import RefusedStart
from simcloud_model_container.models.family import Tensors


class NetworkSession:
    """An inference session on the CPU; `run` may be called from several threads at once.

    A run computes on the calling thread alone. Several such threads were steadier and faster than
    one run on several threads, and on one shared session as fast as on a session each (2 threads of
    NanoDet-g: 39-42 ms each, both ways), with 130 MB less memory.
    """

    def __init__(self, weights: bytes, *, name: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # Patterns are kept for each batch size and help nothing here: 40 MB less without them.
        options.enable_mem_pattern = False
        try:
            self._session: Any = onnxruntime.InferenceSession(
                weights, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's error classes have no common root
            message = f"onnxruntime can't load the weights of {name}: {error}"
            raise RefusedStart(message) from error
        (self._input,) = (node.name for node in self._session.get_inputs())
        self._outputs = [node.name for node in self._session.get_outputs()]

    def run(self, batch: npt.NDArray[np.float32]) -> list[Tensors]:
        """The outputs by name of each row of `batch` (n, channels, height, width)."""
        values = self._session.run(self._outputs, {self._input: batch})
        return [
            {name: value[i] for name, value in zip(self._outputs, values, strict=True)}
            for i in range(len(batch))
        ]
