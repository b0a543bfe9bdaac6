"""What every family of models does around its network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Tensors = dict[str, npt.NDArray[Any]]
Parameters = Mapping[str, object]


class ModelFamily(Protocol):
    """Pre- and post-processing of one model; pure and called from several threads."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the network's input."""
        ...

    @property
    def parameter_names(self) -> frozenset[str]:
        """The request parameters that `answers` and `describe` read."""
        ...

    def prepare(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(height, width, RGB) uint8 of any size to the network's input, without batch."""
        ...

    def answers(
        self, raw: Sequence[Tensors], sizes: Sequence[tuple[int, int]], parameters: Parameters
    ) -> Tensors:
        """The contract's output tensors.

        Args:
            raw: each image's network outputs, without batch.
            sizes: each image's (width, height) in pixels, in which boxes are answered.
            parameters: the request's.

        Raises:
            BadRequest: a parameter is out of range.
        """
        ...

    def describe(self, tensors: Tensors, parameters: Parameters) -> dict[str, object]:
        """One image's answer in words: labels, scores, boxes; ready for JSON."""
        ...
