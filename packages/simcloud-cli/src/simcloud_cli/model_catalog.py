"""The router's catalogue of the embedded stack: the models that the local container serves."""

from __future__ import annotations

import hashlib
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from simcloud.errors import PreconditionFailed

_PACKAGE = "simcloud_model_container"
_TASKS = {"nanodet": "object_detection", "efficientnet_lite": "image_classification"}


def weights_folder() -> Path:
    """The folder of packaged weights, found without importing the container.

    Raises:
        PreconditionFailed: the model container is not installed here.
    """
    found = find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise PreconditionFailed(
            "the model container is not installed in this environment: install model-container, "
            "or use a context that names running services"
        )
    return Path(found.submodule_search_locations[0]) / "weights"


def write_catalog(path: Path, *, folder: Path, model_url: str) -> None:
    """Writes the catalogue for models of a weights folder served at one address.

    The container answers as SageMaker's runtime does (``/endpoints/<name>/invocations``), so that
    the router's SageMaker path is the one in use.
    """
    entries = [
        {
            **model_entry(name, table, folder),
            "targets": [{"name": name, "kind": "sagemaker", "endpoint": name, "url": model_url}],
        }
        for name, table in read_models(folder).items()
    ]
    path.write_text(yaml.safe_dump({"models": entries}, sort_keys=False), encoding="utf-8")


def read_models(folder: Path) -> dict[str, dict[str, Any]]:
    """The tables of a weights folder's ``models.toml``, by model.

    Raises:
        OSError: there is no such file.
        tomllib.TOMLDecodeError: it is not TOML.
        KeyError: it describes no models.
    """
    models: dict[str, dict[str, Any]] = tomllib.loads(
        (folder / "models.toml").read_text(encoding="utf-8")
    )["models"]
    return models


def model_entry(name: str, table: dict[str, Any], folder: Path) -> dict[str, object]:
    """A model of a weights folder as the router's catalogue has it, without its targets.

    Args:
        name: the model's.
        table: its table in ``models.toml``.
        folder: the weights folder.
    """
    return {
        "name": name,
        "versions": [table["version"]],
        "task": _TASKS[table["family"]],
        "digest": _digest(table),
        "labels": (folder / table["labels_file"]).read_text(encoding="utf-8").splitlines(),
        # The first input is the picture as it is; the router's contract names one set of inputs.
        "inputs": [_tensor(table["inputs"][0])],
        "outputs": [_tensor(item) for item in table["outputs"]],
        "max_batch_size": 16,
    }


def _tensor(table: dict[str, Any]) -> dict[str, object]:
    return {key: table[key] for key in ("name", "datatype", "shape")}


def _digest(table: dict[str, Any]) -> str:
    """What names the model's predictions, by the rule of the router's own local catalogue.

    The family and the version name the pre- and post-processing.
    """
    parts = f"{table['sha256']} {table['family']} {table['version']}"
    return hashlib.sha256(parts.encode()).hexdigest()
