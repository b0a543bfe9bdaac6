"""The models of a weights folder, as `models.toml` describes them."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simcloud_model_container.errors import RefusedStart

PACKAGED_WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True, slots=True)
class TensorDescription:
    """One input or output tensor of a model's contract."""

    name: str
    datatype: str
    """Open Inference Protocol name: UINT8, FP32, INT64."""
    shape: tuple[int, ...]
    """-1 where the dimension varies; the first is the batch."""
    meaning: str
    """Axes, units and padding in words."""


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """One model: its files, whose they are, and its tensors."""

    name: str
    family: str
    """Which pre- and post-processing it needs: `nanodet` or `efficientnet_lite`."""
    description: str
    version: str
    licence: str
    weights_path: Path
    weights_sha256: str
    labels_path: Path
    labels_sha256: str
    inputs: tuple[TensorDescription, ...]
    """Alternatives: a request has exactly one of them."""
    outputs: tuple[TensorDescription, ...]

    def read_weights(self) -> bytes:
        """The ONNX file's bytes.

        Raises:
            RefusedStart: the file is missing, or its SHA-256 is not the recorded one.
        """
        return _read_checked(self.weights_path, self.weights_sha256)

    def read_labels(self) -> tuple[str, ...]:
        """The classes' names, in the order of the network's outputs.

        Raises:
            RefusedStart: as `read_weights`.
        """
        text = _read_checked(self.labels_path, self.labels_sha256).decode()
        return tuple(text.splitlines())


def read_catalogue(folder: Path) -> dict[str, ModelDescription]:
    """Read `models.toml` in `folder`; weights are read and checked only when a model is loaded.

    Raises:
        RefusedStart: the file is missing, isn't TOML or lacks an entry.
    """
    path = folder / "models.toml"
    try:
        document = tomllib.loads(path.read_text())
        return {name: _model(name, table, folder) for name, table in document["models"].items()}
    except OSError as error:
        message = f"{path} can't be read: {error.strerror}; point weights_folder at a folder of it"
        raise RefusedStart(message) from error
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        message = f"{path} is not a description of models: {error!r}"
        raise RefusedStart(message) from error


def _model(name: str, table: dict[str, Any], folder: Path) -> ModelDescription:
    return ModelDescription(
        name=name,
        family=table["family"],
        description=table["description"],
        version=table["version"],
        licence=table["licence"],
        weights_path=folder / table["file"],
        weights_sha256=table["sha256"],
        labels_path=folder / table["labels_file"],
        labels_sha256=table["labels_sha256"],
        inputs=tuple(_tensor(entry) for entry in table["inputs"]),
        outputs=tuple(_tensor(entry) for entry in table["outputs"]),
    )


def _tensor(entry: dict[str, Any]) -> TensorDescription:
    return TensorDescription(
        name=entry["name"],
        datatype=entry["datatype"],
        shape=tuple(entry["shape"]),
        meaning=entry["meaning"],
    )


def _read_checked(path: Path, sha256: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        message = f"{path} can't be read: {error.strerror}"
        raise RefusedStart(message) from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        message = f"{path}: models.toml says SHA-256 {sha256}, the file has {found}; restore it"
        raise RefusedStart(message)
    return data
