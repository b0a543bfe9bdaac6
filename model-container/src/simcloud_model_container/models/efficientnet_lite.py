"""EfficientNet-Lite's pre- and post-processing, as its authors publish it for Lite0."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from simcloud_model_container.models.family import Parameters, Tensors
from simcloud_model_container.models.parameters import whole_number

SIDE_PX = 224
# 224 / 256: ImageNet's evaluation crop.
CROP = 0.875
DEFAULT_TOP_K = 5


class EfficientNetLite:
    """An EfficientNet-Lite0 with classes `labels`."""

    input_shape = (3, SIDE_PX, SIDE_PX)
    parameter_names = frozenset({"top_k"})

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = tuple(labels)

    def prepare(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(height, width, RGB) uint8 to (RGB, 224, 224) float32, -1..1, centre crop."""
        height, width = image.shape[:2]
        side = max(1, round(min(height, width) * CROP))
        top, left = (height - side) // 2, (width - side) // 2
        crop = image[top : top + side, left : left + side]
        interpolation = cv2.INTER_AREA if side >= SIDE_PX else cv2.INTER_CUBIC
        resized = cv2.resize(crop, (SIDE_PX, SIDE_PX), interpolation=interpolation)
        planes = np.ascontiguousarray(resized.transpose(2, 0, 1)).astype(np.float32)
        return (planes - np.float32(127)) / np.float32(128)

    def answers(
        self, raw: Sequence[Tensors], sizes: Sequence[tuple[int, int]], parameters: Parameters
    ) -> Tensors:
        """`logits` and `probabilities` of models.toml."""
        logits = np.stack([outputs["logits"] for outputs in raw]).astype(np.float32)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return {"logits": logits, "probabilities": weights / weights.sum(axis=1, keepdims=True)}

    def describe(self, tensors: Tensors, parameters: Parameters) -> dict[str, object]:
        """`classifications`: label, class_id and score of the best `top_k`.

        Raises:
            BadRequest: `top_k` is out of range.
        """
        top_k = whole_number(
            parameters, "top_k", default=DEFAULT_TOP_K, least=1, most=len(self._labels)
        )
        probabilities = tensors["probabilities"][0]
        best = np.argsort(-probabilities, kind="stable")[:top_k].tolist()
        return {
            "classifications": [
                {"label": self._labels[k], "class_id": k, "score": float(probabilities[k])}
                for k in best
            ]
        }
