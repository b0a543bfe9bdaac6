"""One network in onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from simcloud_model_container.errors import RefusedStart
from simcloud_model_container.models.family import Tensors


class NetworkSession:
    """An inference session of one thread on the CPU.

    One thread a session and several sessions was steadier and faster than one session of several
    threads on the small networks served here.
    """

    def __init__(self, weights: bytes, *, name: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # Spinning threads would burn the core that the other session computes on.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
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
