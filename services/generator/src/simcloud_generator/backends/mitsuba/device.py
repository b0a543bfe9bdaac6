"""Arrays on their way to Dr.Jit, so that its kernels stay the same from frame to frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

ALIGNMENT = 64


def upload(kind: Any, values: npt.NDArray[Any]) -> Any:
    """A Dr.Jit array of all values, row by row.

    Dr.Jit takes numpy's memory as it lies, and loads several words at once only from where they are
    aligned: another address would be another kernel.

    Args:
        kind: type of the array, for example ``mi.Float``.
        values: of the matching dtype.
    """
    flat = np.ascontiguousarray(values).ravel()
    room = np.empty(flat.nbytes + ALIGNMENT, dtype=np.uint8)
    begin = -room.ctypes.data % ALIGNMENT
    aligned = room[begin : begin + flat.nbytes].view(flat.dtype)
    aligned[:] = flat
    return kind(aligned)
