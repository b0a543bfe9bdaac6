"""What is asked of PyTorch's ``DataLoader``, where torch is loaded; nothing here imports it."""

from __future__ import annotations

import sys
from types import ModuleType


def iterable_kind() -> type | None:
    """Torch's ``IterableDataset``, the only type whose instances a ``DataLoader`` iterates."""
    loaders = _loaders()
    return None if loaders is None else getattr(loaders, "IterableDataset", None)


def worker() -> tuple[int, int]:
    """Number of this process among a ``DataLoader``'s workers, and how many there are."""
    loaders = _loaders()
    information = None if loaders is None else loaders.get_worker_info()
    return (0, 1) if information is None else (information.id, information.num_workers)


def _loaders() -> ModuleType | None:
    return sys.modules.get("torch.utils.data")
